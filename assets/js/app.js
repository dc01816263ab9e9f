// What the server cannot do for the page: files dropped or pasted, the crop's focus, shortcuts, the clipboard,
// the tab's title and address. Every piece of HTML calls one of the functions below when it is first shown.
window.svdui = (() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  let takeFiles = null;
  let say = () => {};

  function delegate(element, trigger) {
    element.addEventListener("click", async (event) => {
      const target = event.target.closest("[data-act],[data-copy],[data-link],[data-pick],[data-webcam],[data-snap]");
      if (!target || !element.contains(target)) return;
      if (target.dataset.pick) return $("#door input[type=file]")?.click();
      if (target.dataset.copy) return copied(target, target.dataset.copy);
      if (target.dataset.link) return copied(target, location.href);
      if ("webcam" in target.dataset) return webcam(element, Boolean(target.dataset.webcam));
      if (target.dataset.snap) return snap(element);
      trigger(target.dataset.act, { id: target.dataset.id || "", at: Number(target.dataset.at || 0), name: target.dataset.name || "" });
    });
  }

  async function copied(button, text) {
    const label = button.innerHTML;
    await copy(text);
    button.textContent = button.dataset.done || "Copied";
    say(button.textContent);
    setTimeout(() => { button.innerHTML = label; }, 1600);
  }

  async function copy(text) {
    if (navigator.clipboard && window.isSecureContext) {
      try { return await navigator.clipboard.writeText(text); } catch { /* refused: the old way below */ }
    }
    const area = Object.assign(document.createElement("textarea"), { value: text });
    area.style.cssText = "position:fixed;opacity:0";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }

  // Stage, history, status, offer: clicks become events; the stage also speaks to the tab and to screen readers.
  function mount(kind, element, trigger, watch) {
    delegate(element, trigger);
    if (kind === "stage") { watch("value", () => stage(element)); stage(element); }
    if (kind === "history") hover(element);
  }

  let spoken = "";
  function stage(element) {
    const section = $("section.stage", element);
    if (!section) return;
    document.title = section.dataset.title || document.title;
    const job = section.dataset.job || "";
    const url = new URL(location.href);
    if (job && url.searchParams.get("job") !== job) {
      url.searchParams.set("job", job);
      history.replaceState(history.state, "", url);
    }
    if (section.dataset.say && job + section.dataset.say !== spoken) {
      spoken = job + section.dataset.say;
      say(section.dataset.say);
    }
    const video = $("video.clip", section);
    if (video && video.dataset.seen !== video.src) {
      video.dataset.seen = video.src;
      video.muted = true;
      if (!matchMedia("(prefers-reduced-motion: reduce)").matches) video.play().catch(() => {});
    }
  }

  function hover(element) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)");
    element.addEventListener("mouseover", (event) => {
      const poster = event.target.closest("[data-play]");
      if (!poster || calm.matches || $("video", poster)) return;
      const video = Object.assign(document.createElement("video"), { src: poster.dataset.play, muted: true, loop: true, playsInline: true });
      poster.append(video);
      video.play().catch(() => video.remove());
      poster.addEventListener("mouseleave", () => video.remove(), { once: true });
    });
  }

  // The door: one way in for files, however they arrive.
  function door(element, trigger, upload) {
    delegate(element, trigger);
    const message = (text) => { const line = $(".door-busy", element); if (line) line.textContent = text; };
    takeFiles = async (list) => {
      const files = [...list].slice(0, 16);
      const limit = Number($(".door", element)?.dataset.maxMb || 50);
      if (!files.length) return;
      const large = files.find((file) => file.size > limit * 1e6);
      if (large) return message(`${large.name} is larger than ${limit} MB: send a smaller file.`);
      message(files.length > 1 ? `Uploading ${files.length} pictures…` : "Uploading…");
      try {
        const taken = [];
        for (const file of files) taken.push({ path: (await upload(file)).path, name: file.name });
        message("");
        trigger("take", { files: taken });
      } catch (error) { message("The upload did not work: check the connection and try again."); }
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
    } catch { line.textContent = "There is no webcam, or it may not be used here (browsers ask for https or localhost)."; }
  }

  function snap(element) {
    const video = $(".webcam video", element);
    const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    webcam(element, false);
    canvas.toBlob((blob) => blob && takeFiles([new File([blob], "webcam.png", { type: "image/png" })]), "image/png");
  }

  let depth = 0;
  const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  addEventListener("dragenter", (event) => { if (hasFiles(event)) { depth += 1; document.body.classList.add("dropping"); } });
  addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); if (!depth) document.body.classList.remove("dropping"); });
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("dropping");
    takeFiles?.(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (files.length && takeFiles) { event.preventDefault(); takeFiles(files); }
  });

  // The finder: click, drag or arrow keys move the focus; the server answers with the exact crop.
  function finder(element, trigger) {
    delegate(element, trigger);
    let dragging = false;
    const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
    const aim = (source, x, y, done) => {
      const d = source.dataset, w = Number(d.w), h = Number(d.h), cw = Number(d.cw), ch = Number(d.ch);
      const scale = Math.min(w / cw, h / ch), bw = Math.min(w, cw * scale), bh = Math.min(h, ch * scale);
      const crop = $(".crop", source).style, dot = $(".dot", source).style;
      crop.left = `${clamp(x * w - bw / 2, 0, w - bw) / w * 100}%`;
      crop.top = `${clamp(y * h - bh / 2, 0, h - bh) / h * 100}%`;
      dot.left = `${x * 100}%`;
      dot.top = `${y * 100}%`;
      d.x = x; d.y = y;
      if (done) trigger("aim", { x: Math.round(x * 1e3) / 1e3, y: Math.round(y * 1e3) / 1e3 });
    };
    const at = (source, event) => {
      const box = source.getBoundingClientRect();
      return [clamp((event.clientX - box.left) / box.width, 0, 1), clamp((event.clientY - box.top) / box.height, 0, 1)];
    };
    element.addEventListener("pointerdown", (event) => {
      const source = event.target.closest(".source");
      if (!source) return;
      dragging = true;
      source.setPointerCapture(event.pointerId);
      aim(source, ...at(source, event), false);
    });
    element.addEventListener("pointermove", (event) => {
      const source = event.target.closest(".source");
      if (source && dragging) aim(source, ...at(source, event), false);
    });
    element.addEventListener("pointerup", (event) => {
      const source = event.target.closest(".source");
      if (source && dragging) aim(source, ...at(source, event), true);
      dragging = false;
    });
    element.addEventListener("keydown", (event) => {
      const source = event.target.closest(".source");
      const step = { ArrowLeft: [-0.02, 0], ArrowRight: [0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02] }[event.key];
      if (!source || !step) return;
      event.preventDefault();
      aim(source, clamp(Number(source.dataset.x) + step[0], 0, 1), clamp(Number(source.dataset.y) + step[1], 0, 1), true);
    });
  }

  // Ctrl+Enter runs, Esc stops.
  addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      event.stopPropagation();
      document.activeElement?.blur?.();
      setTimeout(() => $("#animate")?.click(), 60);
    } else if (event.key === "Escape" && !document.fullscreenElement && !$("dialog[open]")) {
      $("#stage [data-act=stop]")?.click();
    }
  }, true);

  addEventListener("DOMContentLoaded", () => {
    document.documentElement.lang = "en";
    const live = Object.assign(document.createElement("div"), { className: "sr-only" });
    live.setAttribute("aria-live", "polite");
    document.body.append(live);
    say = (text) => { live.textContent = text; };
  });

  // After Animate: the first field with a message gets the focus, on a phone the result comes into view.
  function submitted() {
    const wrong = $(".dial.invalid input, .dial.invalid textarea");
    if (wrong) { wrong.closest(".advanced:not([open])")?.setAttribute("open", ""); wrong.focus(); wrong.scrollIntoView({ block: "center" }); return; }
    if (innerWidth < 900 && $("#stage .stage-running")) $("#stage").scrollIntoView({ behavior: "smooth", block: "start" });
  }

  // The clip chosen in the history comes into view where the page is long.
  function look() {
    const box = $("#stage").getBoundingClientRect();
    if (box.top < 0 || box.top > innerHeight - 120) $("#stage").scrollIntoView({ behavior: "smooth", block: "start" });
  }

  // How much of the prompt is used.
  function count() {
    const area = $("#dial-prompt textarea");
    if (!area) return;
    let line = $("#dial-prompt .counter");
    if (!line) {
      line = Object.assign(document.createElement("span"), { className: "counter" });
      area.parentElement.append(line);
    }
    const max = area.maxLength > 0 ? area.maxLength : 500;
    line.textContent = `${area.value.length} / ${max}`;
    line.classList.toggle("full", area.value.length >= max);
  }
  addEventListener("input", (event) => { if (event.target.closest?.("#dial-prompt")) count(); });

  return { mount, door, finder, copy, submitted, look, count };
})();
