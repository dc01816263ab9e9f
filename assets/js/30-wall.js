// The draft wall: its dials open and close, its tiles play while they are in view.
(() => {
  const { $ } = svdui;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const bar = () => $("#run-bar");
  let sync = () => {};

  function wallToggle(element, watch) {
    // The button is drawn anew whenever the wall's dials change: whether it is open is kept by the bar.
    sync = () => $("button", element)?.setAttribute("aria-expanded", String(bar()?.dataset.wall === "open"));
    watch("value", sync);
    element.addEventListener("click", (event) => {
      if (!event.target.closest("button")) return;
      openWall(bar().dataset.wall !== "open");
      if (bar().dataset.wall === "open") $("#wall-choice input")?.focus();
    });
  }

  function openWall(open) {
    bar().dataset.wall = open ? "open" : "";
    sync();
  }

  // Whether there was something to close; the focus goes back to the button.
  function closeWall() {
    if (bar()?.dataset.wall !== "open" || !$("#wall-choice").contains(document.activeElement)) return false;
    openWall(false);
    $("#wall-toggle button").focus();
    return true;
  }

  const play = (video) => { video.muted = true; video.play().catch(() => {}); };
  const inView = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) target.pause();
      else if (calm.matches) target.preload = "auto"; // the first frame stands for the tile
      else play(target);
    }
  }, { rootMargin: "120px" });

  function tiles(section) {
    for (const video of section.querySelectorAll(".tile video")) inView.observe(video);
  }

  // Where little should move, a tile plays while it is pointed at or has the focus.
  function calmTiles(element) {
    const video = (event) => (calm.matches ? $("video", event.target.closest(".tile-full") || document.createElement("i")) : null);
    for (const name of ["pointerover", "focusin"]) element.addEventListener(name, (event) => { const tile = video(event); if (tile) play(tile); });
    for (const name of ["pointerout", "focusout"]) element.addEventListener(name, (event) => video(event)?.pause());
  }

  Object.assign(svdui, { wallToggle, openWall, closeWall, tiles, calmTiles });
})();
