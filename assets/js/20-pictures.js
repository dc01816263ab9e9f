// Pictures: files dropped, pasted, chosen or taken with the webcam, and the focus of the crop.
(() => {
  const { $, delegate } = svdui;
  let takeFiles = null;

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
    (svdui.takesClips() || takeFiles)?.(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (files.length && takeFiles && !svdui.training()) { event.preventDefault(); takeFiles(files); }
  });

  // The finder: click, drag or arrow keys move the focus; the server answers with the exact crop.
  function finder(element, trigger) {
    delegate(element, trigger);
    // Keys are counted here until they rest: an answer from the server may be older than the last of them.
    let dragging = false, settled = 0, typed = null;
    const rounded = (value) => Math.round(value * 1e3) / 1e3;
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
      if (done) trigger("aim", { x: rounded(x), y: rounded(y) });
    };
    const at = (source, event) => {
      const box = source.getBoundingClientRect();
      return [clamp((event.clientX - box.left) / box.width, 0, 1), clamp((event.clientY - box.top) / box.height, 0, 1)];
    };
    element.addEventListener("pointerdown", (event) => {
      const source = event.target.closest(".source");
      if (!source) return;
      dragging = true;
      typed = null;
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
      const [x, y] = typed || [Number(source.dataset.x), Number(source.dataset.y)];
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
