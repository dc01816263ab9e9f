// Pictures: files dropped, pasted, chosen or taken with the webcam, and the focus of the crop.
(() => {
  const { $, delegate } = svdui;
  let takeFiles = null;

  // The door: one way in for files, however they arrive.
  function door(element, trigger, upload) {
    delegate(element, trigger);
    // The door is hidden while there is a picture: the line stands below the finder too.
    const message = (text) => { for (const line of document.querySelectorAll(".door-busy")) line.textContent = text; };
    svdui.said = message;
    takeFiles = async (list) => {
      const { maxMb, most } = $(".door", element).dataset, left = [];
      const small = [...list].filter((file) => file.size <= Number(maxMb) * 1e6), files = small.slice(0, Number(most));
      const large = [...list].find((file) => !small.includes(file));
      if (large) left.push(`${large.name} is larger than ${maxMb} MB: send a smaller file${large.type.startsWith("video/") ? ", or a shorter clip" : ""}.`);
      if (files.length < small.length) left.push(`Only the first ${files.length} of ${small.length} files were used.`);
      if (!files.length) return message(left.join(" "));
      message(files.length > 1 ? `Uploading ${files.length} files…` : "Uploading…");
      svdui.changing(true);
      try {
        const taken = [];
        for (const file of files) taken.push({ path: (await upload(file)).path, name: file.name });
        message("");
        trigger("take", { files: taken, left });
        svdui.changing(true, 5000);
      } catch (error) { svdui.changing(null); message("The upload did not work: check the connection and try again."); }
    };
    element.addEventListener("change", (event) => {
      if (event.target.type !== "file") return;
      takeFiles(event.target.files);
      event.target.value = "";
    });
  }

  // The webcam: shown inside the door, one frame of it goes the way of every other picture.
  async function webcam(element, on) {
    const box = $(".webcam", element), video = $("video", box), line = $(".door-busy", element);
    video.srcObject?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    box.hidden = true;
    line.textContent = "";
    if (!on) return;
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } } });
      box.hidden = false;
      await video.play();
    } catch { line.textContent = "No camera was found, or it is not allowed here (browsers need https or localhost)."; }
  }

  function snap(element) {
    const video = $(".webcam video", element);
    const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    webcam(element, false);
    canvas.toBlob((blob) => blob && takeFiles([new File([blob], "webcam.png", { type: "image/png" })]), "image/png");
  }

  // A picture of another page may come as its address alone: the browser fetches it, where that site lets it.
  function addressIn(data) {
    const page = new DOMParser().parseFromString(data?.getData("text/html") || "", "text/html");
    const listed = (data?.getData("text/uri-list") || "").split(/\r?\n/).find((line) => line && !line.startsWith("#"));
    const address = page.querySelector("img[src]")?.getAttribute("src") || listed || "";
    return /^(https?:\/\/.{3,2000}|data:image\/)/i.test(address) ? address : "";
  }

  async function takeAddress(address) {
    const say = (text) => svdui.said(text);
    say("Fetching the picture…");
    try {
      const answer = await fetch(address, { mode: "cors", credentials: "omit", referrerPolicy: "no-referrer" });
      const blob = answer.ok ? await answer.blob() : null;
      if (!/^(image|video)\//.test(blob?.type || "")) throw new Error(answer.status);
      say("");
      const name = address.startsWith("data:") ? "" : decodeURIComponent(new URL(address).pathname.split("/").pop() || "");
      takeFiles([new File([blob], name || `picture.${blob.type.split("/")[1].split(/[+;]/)[0]}`, { type: blob.type })]);
    } catch {
      say("That site does not let other pages fetch its picture: save the picture there, then drop the file here.");
    }
  }

  let depth = 0, ours = false;
  const types = (event) => [...(event.dataTransfer?.types || [])];
  const hasFiles = (event) => types(event).includes("Files");
  // Text dragged into a field stays what it is, and so does what is dragged within the page.
  const hasAddress = (event) => !ours && types(event).includes("text/uri-list") && !svdui.training()
    && !event.target.closest?.("input, textarea, [contenteditable]");
  const enters = (event) => hasFiles(event) || hasAddress(event);
  addEventListener("dragstart", () => { ours = true; });
  addEventListener("dragend", () => { ours = false; });
  addEventListener("dragenter", (event) => { if (enters(event)) { depth += 1; document.body.classList.add("dropping"); } });
  addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); if (!depth) document.body.classList.remove("dropping"); });
  addEventListener("dragover", (event) => { if (enters(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    const { files } = event.dataTransfer || {};
    depth = 0;
    document.body.classList.remove("dropping");
    if (!enters(event)) return;
    event.preventDefault();
    const zone = event.target.closest?.("[data-takes]");
    if (files?.length && zone?.svduiTakes) return void zone.svduiTakes(files);
    if (files?.length) return void (svdui.takesClips() || takeFiles)?.(files);
    const address = addressIn(event.dataTransfer);
    if (address && takeFiles) takeAddress(address);
    else svdui.said("Nothing you dropped is a picture: save it as a file, then drop that.");
  });
  addEventListener("paste", (event) => {
    if (!takeFiles || svdui.training()) return;
    const files = [...(event.clipboardData?.files || [])], zone = document.activeElement?.closest?.("[data-takes]");
    if (files.length && zone?.svduiTakes) { event.preventDefault(); return void zone.svduiTakes(files); }
    const inField = event.target.closest?.("input, textarea, [contenteditable]");
    if (files.length) { event.preventDefault(); return void takeFiles(files); }
    const address = inField ? "" : addressIn(event.clipboardData);
    if (address) { event.preventDefault(); takeAddress(address); }
  });

  // The scrubber of a clip: the frame is shown while it moves, and becomes the still when it rests.
  function scrubber(element, trigger, watch) {
    let busy = false, next = null, rest = null;
    const range = () => $(".scrub input", element);
    const told = () => {
      const input = range();
      if (!input) return;
      const at = Number(input.value), fps = Number(input.closest(".scrub").dataset.fps);
      const text = `${at + 1} of ${Number(input.max) + 1}, ${(at / fps).toFixed(2)} s`;
      $(".scrub output", element).textContent = text;
      input.setAttribute("aria-valuetext", `frame ${text}`);
    };
    // One frame is asked for at a time: those passed over meanwhile are not.
    const show = async (at) => {
      next = at;
      if (busy) return;
      busy = true;
      while (next !== null) {
        const input = range(), image = new Image(), wanted = next;
        next = null;
        if (!input) break;
        const { url, fps } = input.closest(".scrub").dataset;
        image.src = `${url}&at=${wanted >= Number(input.max) ? -1 : ((wanted + 0.25) / Number(fps)).toFixed(4)}`;
        try { await image.decode(); } catch { continue; /* the server says it when the frame is chosen */ }
        const shown = $(".source img", element);
        if (shown && range() && Number(range().value) === wanted) shown.src = image.src;
      }
      busy = false;
    };
    const seek = (delay) => {
      clearTimeout(rest);
      svdui.changing(true);
      rest = setTimeout(() => {
        rest = null;
        svdui.changing(Boolean(range()), 3000);
        if (range()) trigger("seek", { at: Number(range().value) });
        setTimeout(() => $("#left .notice.bad") && drawn(), 3000);  // the frame could not be had: it is still the one before
      }, delay);
    };
    // What the page says of the still, unless the visitor is at it.
    const drawn = () => {
      const input = range();
      if (rest === null) svdui.changing(false);
      if (input && rest === null) input.value = input.getAttribute("value");
      told();
    };
    element.addEventListener("input", (event) => {
      if (!event.target.closest(".scrub")) return;
      told();
      show(Number(event.target.value));
      seek(1200);
    });
    element.addEventListener("change", (event) => event.target.closest(".scrub") && seek(350));
    element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-frame]");
      if (!button || !range()) return;
      range().value = button.dataset.frame;
      told();
      show(Number(button.dataset.frame));
      seek(0);
    });
    watch("value", drawn);
    drawn();
  }

  // The finder: a drag moves the crop, a click puts its middle there, arrow keys move it; the server answers with the exact
  // crop. A drag that the browser takes for scrolling changes nothing.
  function finder(element, trigger, watch) {
    delegate(element, trigger);
    scrubber(element, trigger, watch);
    // Keys are counted here until they rest: an answer from the server may be older than the last of them.
    let drag = null, settled = 0, typed = null;
    const rounded = (value) => Math.round(value * 1e3) / 1e3;
    const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
    // In pixels of the picture: its sides and those of the crop.
    const sides = ({ dataset: d }) => {
      const w = Number(d.w), h = Number(d.h), scale = Math.min(w / Number(d.cw), h / Number(d.ch));
      return { w, h, bw: Math.min(w, d.cw * scale), bh: Math.min(h, d.ch * scale) };
    };
    // The middle of the crop, which stays away from the edges that the focus may lie at.
    const middle = (source) => {
      const { w, h, bw, bh } = sides(source), { x, y } = source.dataset;
      return [clamp(x, bw / 2 / w, 1 - bw / 2 / w), clamp(y, bh / 2 / h, 1 - bh / 2 / h)];
    };
    const aim = (source, x, y, done) => {
      const { w, h, bw, bh } = sides(source);
      const crop = $(".crop", source).style, dot = $(".dot", source).style;
      crop.setProperty("--x", clamp(x * w - bw / 2, 0, w - bw) / w);
      crop.setProperty("--y", clamp(y * h - bh / 2, 0, h - bh) / h);
      dot.left = `${x * 100}%`;
      dot.top = `${y * 100}%`;
      source.dataset.x = x;
      source.dataset.y = y;
      if (done) trigger("aim", { x: rounded(x), y: rounded(y) });
    };
    const at = (source, event) => {
      const box = source.getBoundingClientRect();
      return [clamp((event.clientX - box.left) / box.width, 0, 1), clamp((event.clientY - box.top) / box.height, 0, 1)];
    };
    element.addEventListener("pointerdown", (event) => {
      const source = event.target.closest(".source");
      if (!source?.dataset.slides || event.button) return;
      const { x, y } = source.dataset;
      drag = { from: [event.clientX, event.clientY], before: [Number(x), Number(y)], middle: middle(source), to: null };
      typed = null;
      source.setPointerCapture(event.pointerId);
    });
    // The server may draw the finder anew meanwhile: what is dragged is the picture that is there.
    addEventListener("pointermove", (event) => {
      const source = drag && $(".source", element);
      if (!source) return;
      const by = [event.clientX - drag.from[0], event.clientY - drag.from[1]], box = source.getBoundingClientRect();
      if (!drag.to && Math.hypot(...by) < 4) return;
      source.classList.add("dragged");
      aim(source, clamp(drag.middle[0] + by[0] / box.width, 0, 1), clamp(drag.middle[1] + by[1] / box.height, 0, 1), false);
      drag.to = middle(source);
      aim(source, ...drag.to, false);
    });
    const drop = (event, done) => {
      const source = drag && $(".source", element), { before, to } = drag || {};
      drag = null;
      if (!source) return;
      source.classList.remove("dragged");
      if (!done) aim(source, ...before, false);
      else aim(source, ...(to || at(source, event)), true);
    };
    addEventListener("pointerup", (event) => drop(event, true));
    addEventListener("pointercancel", (event) => drop(event, false));
    element.addEventListener("keydown", (event) => {
      const source = event.target.closest(".source");
      const step = { ArrowLeft: [-0.02, 0], ArrowRight: [0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02] }[event.key];
      if (!source?.dataset.slides || !step) return;
      event.preventDefault();
      const [x, y] = typed || middle(source);
      typed = [clamp(x + step[0], 0, 1), clamp(y + step[1], 0, 1)];
      aim(source, ...typed, false);
      clearTimeout(settled);
      settled = setTimeout(() => {
        trigger("aim", { x: rounded(typed[0]), y: rounded(typed[1]) });
        settled = setTimeout(() => { typed = null; }, 1500);
      }, 180);
    });
  }

  Object.assign(svdui, { door, webcam, snap, finder });
})();
