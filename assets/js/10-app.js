// What the server cannot do for the page: clicks as events, shortcuts, the clipboard, the tab's title and address. Pictures
// are in pictures.js, the draft wall in wall.js. Every piece of HTML calls one of the functions below when it is first shown.
window.svdui = (() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  // What is read out. No event of the document is waited for: gradio may run this after them. It also draws the whole body
  // anew when it starts, and a reader speaks only of what it had met before.
  const live = Object.assign(document.createElement("div"), { className: "sr-only", id: "read-out" });
  live.setAttribute("aria-live", "polite");
  function say(text) {
    if (!live.isConnected) document.body.append(live);
    setTimeout(() => { live.textContent = text; }, 100);
  }

  function delegate(element, trigger) {
    element.addEventListener("click", async (event) => {
      const target = event.target.closest("[data-act],[data-copy],[data-link],[data-pick],[data-webcam],[data-snap]");
      if (!target || !element.contains(target)) return;
      if (target.dataset.pick) return $("#door input[type=file]")?.click();
      if (target.dataset.copy) return copied(target, target.dataset.copy);
      if (target.dataset.link) return copied(target, location.href);
      if ("webcam" in target.dataset) return svdui.webcam(element, Boolean(target.dataset.webcam));
      if (target.dataset.snap) return svdui.snap(element);
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
    if (kind === "stage") { say(""); watch("value", () => stage(element)); stage(element); svdui.calmTiles(element); }
    if (kind === "history") hover(element);
    if (kind === "status") disclosed(element, watch);
    if (kind === "offer") watch("value", () => near(element));
  }

  // What is said of the checkpoint that was just chosen comes into view below it.
  function near(element) {
    if ($("#dial-checkpoint").contains(document.activeElement) && $(".offer", element)) element.scrollIntoView({ block: "nearest" });
  }

  // What is drawn anew every few seconds stays open; Esc and a click elsewhere close it.
  let closeStatus = () => false;
  function disclosed(element, watch) {
    let open = false;
    const part = () => $("details", element);
    closeStatus = () => {
      const was = open && element.contains(document.activeElement);
      open = false;
      part()?.removeAttribute("open");
      if (was) $("summary", element).focus();
      return was;
    };
    element.addEventListener("toggle", () => { open = Boolean(part()?.open); }, true);
    addEventListener("click", (event) => { if (!element.contains(event.target)) closeStatus(); });
    watch("value", () => { if (open) part()?.setAttribute("open", ""); });
  }

  // On a phone: to the settings and to the clip in one tap, and which of the two is in view.
  function jumps(element) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)"), buttons = element.querySelectorAll("[data-to]");
    const told = () => {
      const here = $("#right").getBoundingClientRect().top < innerHeight / 2 ? "#right" : "#left";
      for (const button of buttons) {
        if (button.dataset.to === here) button.setAttribute("aria-current", "true");
        else button.removeAttribute("aria-current");
      }
    };
    element.addEventListener("click", (event) => {
      const to = event.target.closest("[data-to]")?.dataset.to;
      if (to) $(to).scrollIntoView({ behavior: calm.matches ? "auto" : "smooth", block: "start" });
    });
    addEventListener("scroll", told, { passive: true });
    addEventListener("resize", told);
  }

  // What went wrong is seen, also where it stands above or below what a phone shows.
  function says(element, watch) {
    watch("value", () => $(".bad", element)?.scrollIntoView({ block: "nearest" }));
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
    svdui.tiles(section);
    svdui.preview(section);
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

  // Radios of one group share a name: one stop for Tab, arrow keys within. Whenever its choices change they lose it.
  function group() {
    for (const group of document.querySelectorAll(".seg, .chips")) {
      for (const radio of group.querySelectorAll("input[type=radio]")) radio.name = group.id;
    }
  }
  addEventListener("focusin", group);
  addEventListener("keydown", group, true);

  // Ctrl+Enter runs, Esc stops.
  addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      event.stopPropagation();
      document.activeElement?.blur?.();
      setTimeout(() => $(svdui.training() ? "#train-start" : svdui.edits() ? "#save-edit" : "#animate")?.click(), 60);
    } else if (event.key === "Escape" && (closeStatus() || svdui.closeWall() || (!svdui.training() && svdui.leaveEdit()))) {
      event.preventDefault();
    } else if (event.key === "Escape" && !svdui.training() && !document.fullscreenElement && !$("dialog[open]") && !event.target.closest?.("canvas.marks")) {
      $("#stage [data-act=stop]")?.click();
    }
  }, true);

  // The page is shown when what the browser kept stands in it, so nothing moves on the way; at the latest after a while.
  const shown = () => { document.body.dataset.shown = "yes"; };
  setTimeout(shown, 6000);
  document.documentElement.lang = "en";

  // A start waits while the picture is on its way to another: who presses Animate means the one that is to come.
  // Null: nothing has come of it.
  let coming = false, latest = 0, held = null;
  function changing(on, atMost = 0) {
    clearTimeout(latest);
    if (atMost) latest = setTimeout(() => changing(false), atMost);
    coming = on;
    if (on) return;
    const button = held;
    held = null;
    if (on === false && !$("#left .notice.bad")) button?.click();
  }
  // The second half of a double click starts nothing: it would be another clip.
  const STARTS = "#animate, #draft-wall, #make-still, [data-act=reseed], [data-act=retry], [data-act=full]";
  addEventListener("click", (event) => {
    const button = event.target.closest?.(STARTS), waits = coming && button?.matches("#animate, #draft-wall");
    if (!button || (event.detail < 2 && !waits)) return;
    event.stopImmediatePropagation();
    if (waits) held = button;
  }, true);

  // After Animate: the first field with a message gets the focus, else the stage comes into view.
  function submitted() {
    const wrong = $(".dial.invalid input, .dial.invalid textarea");
    if (wrong) {
      wrong.closest(".advanced:not([open])")?.setAttribute("open", "");
      if (wrong.closest("#wall-choice")) svdui.openWall(true);
      refused(wrong);
      return;
    }
    if ($("#stage .stage-running")) look();
    svdui.queue?.();
  }

  // What is wrong with a field stands beside it, and is read out with it.
  function refused(field) {
    field.focus();
    field.scrollIntoView({ block: "center" });
    say($(".info-text, [class*=info]:not([data-testid])", field.closest(".dial"))?.textContent || "");
  }

  // The stage comes into view where it is not: on a phone, or far down in the history.
  function look() {
    const box = $("#stage").getBoundingClientRect();
    if (box.top < 0 || box.top > innerHeight - 120) $("#stage").scrollIntoView({ behavior: "smooth", block: "start" });
  }

  // Where the focus goes when the button that had it is gone. For a second: its place may be drawn more than once.
  function focus(selector, tries = 20) {
    if (!document.activeElement || document.activeElement === document.body) $(selector)?.focus();
    if (tries) setTimeout(focus, 50, selector, tries - 1);
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

  // What follows from the form is asked for once, however many controls have just changed.
  const TOGETHER_MS = 40;
  let beat = () => {}, due = 0;
  function pulses(trigger) { beat = () => trigger("beat"); }
  function pulse() {
    clearTimeout(due);
    due = setTimeout(() => beat(), TOGETHER_MS);
  }

  return { pulse, pulses, $, heard: say, delegate, mount, jumps, says, shown, copy, submitted, refused, look, focus, count, changing };
})();
