// Pictures beside the still: an end frame, a mask, a depth picture. They come in as every picture does and are kept by name.
(() => {
  const { $ } = svdui, { write, kinds } = svdui.fields;
  const REF = /sha256:([0-9a-f]{64})/;
  const thumb = (ref) => `svd/still/${ref.match(REF)[1]}`;

  // The pairs of ``0.4=sha256:…; 0.7=sha256:…``.
  const pairs = (text) => text.split(";").map((part) => part.trim()).filter((part) => REF.test(part)).map((part) => part.split("="));
  const paired = (list) => list.map((pair) => pair.join("=")).join("; ");

  function zones(field, box, trigger, upload, refs, removed) {
    const busy = (text) => { $(".pic-busy", box).textContent = text; };
    async function take(files, at) {
      const file = [...files][0], limit = Number($("#door .door")?.dataset.maxMb || 0);
      if (!file) return;
      if (limit && file.size > limit * 1e6) return busy(`${file.name} is larger than ${limit} MB: send a smaller file.`);
      busy("Uploading…");
      try {
        const { path } = await upload(file);
        busy("");
        trigger("take", { files: [{ path, name: file.name }], at });
      } catch { busy("The upload did not work: check the connection and try again."); }
    }
    const atOf = (target) => Number(target.closest(".pic").dataset.at);
    box.addEventListener("change", (event) => {
      if (event.target.type !== "file") return;
      take(event.target.files, atOf(event.target));
      event.target.value = "";
    });
    box.addEventListener("click", (event) => { if (event.target.closest(".pic > .x")) removed(atOf(event.target)); });
    for (const zone of box.querySelectorAll("[data-takes]")) zone.svduiTakes = (files) => take(files, atOf(zone));
    field.shown = () => {
      const known = refs();
      box.querySelectorAll(".pic").forEach((pic, index) => {
        const ref = known[index], image = $("img", pic);
        pic.classList.toggle("full", Boolean(ref));
        image.hidden = $(".x", pic).hidden = !ref;
        if (ref && image.getAttribute("src") !== thumb(ref)) image.src = thumb(ref);
        if (!ref) image.removeAttribute("src");
      });
      if (known.some(Boolean)) busy("");
    };
  }

  kinds.picture = (field, box, trigger, upload) => {
    const refs = () => [REF.test(field.text) ? field.text : ""];
    zones(field, box, trigger, upload, refs, () => write(field, ""));
  };

  kinds.pictures = (field, box, trigger, upload) => {
    zones(field, box, trigger, upload, () => pairs(field.text).map((pair) => pair[1]), (at) => write(field, paired(pairs(field.text).filter((_, index) => index !== at))));
    const shown = field.shown;
    field.shown = () => {
      shown();
      const known = pairs(field.text);
      box.querySelectorAll(".pic-timed").forEach((row, index) => {
        const pull = $(".pull", row), range = $("input", pull), time = known[index]?.[0];
        pull.hidden = time === undefined;
        row.hidden = index > known.length;
        if (document.activeElement !== range) range.value = time || 0.5;
        $("output", pull).textContent = `${Math.round(Number(time || 0.5) * 100)} %`;
      });
    };
    let late = 0;
    box.addEventListener("input", (event) => {
      if (event.target.type !== "range") return;
      const known = pairs(field.text), at = Number(event.target.dataset.at);
      if (!known[at]) return;
      known[at][0] = event.target.value;
      $("output", event.target.closest(".pull")).textContent = `${Math.round(event.target.value * 100)} %`;
      clearTimeout(late);
      late = setTimeout(() => write(field, paired(known)), 150);
    });
  };
})();
