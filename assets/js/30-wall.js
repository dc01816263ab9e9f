// What forms moves while it does; the draft wall: its dials open and close, its tiles play while they are in view.
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

  // A preview holds its frames one below the other. It is drawn once it is decoded: until then the one before stays, also
  // where the stage was drawn anew. A timer of eight looks a second leaves the processor to the clip; a CSS animation would not.
  const FRAME_MS = 125;
  const drawn = { job: "", from: "", url: "" };
  let reel = 0;

  function turn() {
    const box = $("#stage .reel"), last = Number(box?.dataset.frames) - 1;
    if (!box) { clearInterval(reel); reel = 0; return; }
    const at = Math.floor(performance.now() / FRAME_MS) % Math.max(2 * last, 1);  // there and back
    box.style.backgroundPositionY = last > 0 ? `${((calm.matches ? last : Math.min(at, 2 * last - at)) / last) * 100}%` : "0%";
  }

  function draw(job) {
    const box = $("#stage [data-preview]");
    if (!box || job !== drawn.job) return;
    box.style.setProperty("--sheet", `url("${drawn.url}")`);
    turn();
    if (box.matches(".reel") && !reel) reel = setInterval(turn, FRAME_MS);
  }

  async function preview(section) {
    const from = $("[data-preview]", section)?.dataset.preview, { job } = section.dataset;
    if (!from) return;
    draw(job);
    if (from === drawn.from) return;
    drawn.from = from;
    try {
      const answer = await fetch(from), image = new Image();
      if (!answer.ok) return;
      image.src = URL.createObjectURL(await answer.blob());
      await image.decode();
      if (drawn.from !== from) return;
      const old = drawn.url;
      Object.assign(drawn, { job, url: image.src });
      draw(job);
      setTimeout(() => URL.revokeObjectURL(old), 1000);
    } catch { /* written anew just now: the next step has one too */ }
  }

  Object.assign(svdui, { wallToggle, openWall, closeWall, tiles, calmTiles, preview });
})();
