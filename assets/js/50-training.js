// The tabs and the Train tab: which part of the page is seen, clips going up, samples that play while they are in view.
(() => {
  const { $, delegate } = svdui;
  const training = () => document.body.dataset.tab === "train";
  let show = () => {};
  let takeClips = null;
  let open = false;
  let wanted = location.hash === "#train" ? "train" : "";

  // Both parts stay as they are; only one is seen. The address says which, so a refresh comes back to it.
  function tabs(element, trigger) {
    show = (name, focus) => {
      if (!open) { wanted = name; return; }
      document.body.dataset.tab = name;
      for (const tab of element.querySelectorAll("[data-tab]")) {
        const on = tab.dataset.tab === name;
        tab.setAttribute("aria-selected", String(on));
        tab.tabIndex = on ? 0 : -1;
        if (on && focus) tab.focus();
      }
      history.replaceState(history.state, "", location.pathname + location.search + (name === "train" ? "#train" : ""));
      trigger(name);
      scrollTo(0, 0);
    };
    element.addEventListener("click", (event) => {
      const tab = event.target.closest("[data-tab]");
      if (tab) show(tab.dataset.tab);
    });
    element.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") show(training() ? "animate" : "train", true);
    });
  }

  // The page has read what the browser kept: a tab opened before would hold that up.
  function opened() {
    open = true;
    document.body.dataset.opened = "yes";
    svdui.shown();
    if (wanted) show(wanted);
  }

  // Clips go up one after the other; the server files them under the name above.
  function clipsDoor(element, trigger, upload) {
    const message = (text) => { const line = $(".door-busy", element); if (line) line.textContent = text; };
    takeClips = async (list) => {
      const { maxMb, maxFiles } = $(".door", element).dataset;
      const files = [...list];
      if (!files.length) return;
      if (files.length > Number(maxFiles)) return message(`At most ${maxFiles} files: choose fewer.`);
      const large = files.find((file) => file.size > Number(maxMb) * 1e6);
      if (large) return message(`${large.name} is larger than ${maxMb} MB: cut it, or leave it out.`);
      try {
        const taken = [];
        for (const file of files) {
          message(files.length > 1 ? `Uploading ${taken.length + 1} of ${files.length}…` : "Uploading…");
          taken.push({ path: (await upload(file)).path, name: file.name });
        }
        message("");
        trigger("take", { files: taken });
      } catch { message("The upload did not work: check the connection and try again."); }
    };
    element.addEventListener("click", (event) => { if (event.target.closest("[data-choose]")) $("input[type=file]", element).click(); });
    element.addEventListener("change", (event) => {
      if (event.target.type !== "file") return;
      takeClips(event.target.files);
      event.target.value = "";
    });
  }

  // Runs: what cannot be taken back is asked for twice.
  function runs(element, trigger, watch) {
    element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-confirm]");
      if (!button || button.dataset.sure) return;
      event.stopImmediatePropagation();
      const before = button.innerHTML;
      button.dataset.sure = "1";
      button.textContent = button.dataset.confirm;
      setTimeout(() => { if (button.isConnected && button.dataset.sure) { delete button.dataset.sure; button.innerHTML = before; } }, 4000);
    }, true);
    delegate(element, trigger);
    watch("value", () => svdui.tiles(element));
    svdui.tiles(element);
  }

  // Something below, or on a phone further down, comes into view.
  function bring(selector) {
    const box = $(selector)?.getBoundingClientRect();
    if (box && (box.top < 0 || box.top > innerHeight - 120)) $(selector).scrollIntoView({ behavior: "smooth", block: "start" });
  }

  function started() {
    const wrong = $("#train .dial.invalid :is(input, textarea)");
    if (!wrong) return bring("#runs");
    svdui.refused(wrong);
  }

  function tried() {
    show("animate");
    setTimeout(() => $("#loras .lora.on")?.scrollIntoView({ block: "center" }), 400);
  }

  Object.assign(svdui, { training, tabs, clipsDoor, opened, takesClips: () => (training() ? takeClips : null), runs, bring, started, tried });
})();
