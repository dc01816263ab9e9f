// What waits, above the history: paused and resumed, arranged by drag or with Alt and the arrow keys, edited, skipped, taken
// along. It asks the server itself, now and then, and is there only where there is something to arrange. A row stays the
// same element while its job is listed: what is pointed at, or has the focus, is not taken away.
(() => {
  const { $ } = svdui;
  const SOON = 2500, LATER = 15000;
  const rows = new Map();
  let timer = 0, shown = "", dragged = null, waiting = [];

  const el = (name, values = {}, ...inside) => {
    const made = Object.assign(document.createElement(name), values);
    made.append(...inside.filter((part) => part != null));
    return made;
  };
  const put = (element, values) => { for (const [name, value] of Object.entries(values)) if (element[name] !== value) element[name] = value; };

  async function ask(asked) {
    clearTimeout(timer);
    try {
      const options = asked ? { method: "POST", headers: { "Content-Type": "application/json", "X-SVD-UI": "1" }, body: JSON.stringify(asked) } : {};
      const answer = await fetch("svd/queue", { credentials: "same-origin", ...options });
      const told = await answer.json();
      if (told.error) say(told.error.message);
      else draw(told);
      timer = setTimeout(ask, document.hidden ? LATER : (told.jobs || []).length || told.paused ? SOON : LATER);
      if (told.error) ask();
    } catch {
      timer = setTimeout(ask, LATER); // the server is not there: the page says so elsewhere
    }
  }

  // Said where it is seen, and read out.
  function say(text) {
    svdui.heard(text);
    const line = $("#queue .queue-said");
    if (!line) return;
    line.textContent = text;
    setTimeout(() => { if (line.textContent === text) line.textContent = ""; }, 8000);
  }

  function place() {
    const before = $("#history");
    if (!before) return null;
    const found = $("#queue") || el("section", { id: "queue", className: "queue" }, el("header", {}, el("h2"), tools()), el("p", { className: "queue-said quiet" }), el("ol", { className: "queue-jobs" }));
    found.setAttribute("aria-label", "Queue");
    if (found.nextElementSibling !== before) before.before(found);
    return found;
  }

  const button = (name, text, onclick) => el("button", { type: "button", className: `btn small ${name}`, textContent: text, onclick });

  function tools() {
    const stop = () => { if (confirm("Stop everything that is being made or waits?")) ask({ do: "stop_all" }); };
    const hold = button("queue-hold", "Pause", (event) => ask({ do: event.target.dataset.do }));
    const skip = button("queue-skip", "Skip current", (event) => ask({ do: "skip", id: event.target.dataset.id }));
    const take = el("a", { className: "btn small queue-take", href: "svd/queue.zip", download: "queue.zip", textContent: "Export" });
    return el("div", { className: "queue-tools" }, hold, skip, take, button("queue-stop", "Stop all", stop));
  }

  function draw(told) {
    const box = place(), text = JSON.stringify(told);
    waiting = told.jobs.filter((job) => !job.running);
    svdui.editable(waiting.map((job) => job.id));
    if (!box || dragged || (text === shown && rows.size)) return;
    shown = text;
    box.hidden = !told.paused && !waiting.length;
    const running = told.jobs.find((job) => job.running), hold = $(".queue-hold", box), skip = $(".queue-skip", box);
    put($("h2", box), { textContent: told.paused ? "Queue, paused" : "Queue" });
    put(hold, { textContent: told.paused ? "Resume" : "Pause", hidden: !told.operator });
    hold.dataset.do = told.paused ? "resume" : "pause";
    put(skip, { hidden: !running || !waiting.length });
    skip.dataset.id = running?.id || "";
    put($(".queue-take", box), { hidden: !waiting.length });
    put($(".queue-stop", box), { hidden: !told.jobs.length });
    list($("ol", box), told.jobs);
  }

  // Every job has its row, in order; a row that goes hands its focus to the one that takes its place.
  function list(ol, jobs) {
    const focused = document.activeElement, at = [...ol.children].findIndex((item) => item.contains(focused));
    const ids = new Set(jobs.map((job) => job.id));
    for (const [id, row] of rows) if (!ids.has(id)) { row.item.remove(); rows.delete(id); }
    jobs.forEach((job, index) => {
      if (!rows.has(job.id)) rows.set(job.id, made(job.id));
      const row = rows.get(job.id);
      row.update(job);
      if (ol.children[index] !== row.item) ol.insertBefore(row.item, ol.children[index] || null);
    });
    if (at < 0) return;
    if (focused.isConnected && !focused.disabled) focused.focus();
    else (focused.isConnected ? focused.closest("li") : ol.children[Math.min(at, ol.children.length - 1)] || $("#queue .queue-hold"))?.focus();
  }

  const at = (id) => waiting.findIndex((job) => job.id === id);

  function made(id) {
    const item = el("li", { tabIndex: 0 }), title = el("b"), of = el("span", { className: "of" }), said = el("span", { className: "said" });
    item.dataset.id = id;
    const name = () => title.textContent;
    const move = (where, other) => { svdui.heard(`${name()} moved.`); ask({ do: "move", id, where, other }); };
    const up = () => at(id) > 0 && move("before", waiting[at(id) - 1].id);
    const down = () => at(id) >= 0 && at(id) < waiting.length - 1 && move("after", waiting[at(id) + 1].id);
    const acts = { edit: icon("Edit", () => svdui.edit(id), "icon-btn wide"), up: icon("↑", up), down: icon("↓", down), cancel: icon("×", () => ask({ do: "stop", id })) };
    item.append(el("div", { className: "about" }, title, of, said), el("div", { className: "row-acts" }, ...Object.values(acts)));
    item.onkeydown = (event) => {
      if (!event.altKey || at(id) < 0 || !["ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) return;
      event.preventDefault();
      ({ ArrowUp: up, ArrowDown: down, Home: () => move("first"), End: () => move("last") })[event.key]();
    };
    drags(item, id, move);
    return { item, update: (job) => update(item, { title, of, said }, acts, job) };
  }

  function update(item, { title, of, said }, acts, job) {
    const place = at(job.id), steps = job.step != null && job.total ? `${job.step} of ${job.total}` : "";
    const state = job.running ? `${job.state} ${steps}`.trim() : job.message || job.left;
    put(title, { textContent: job.title });
    put(of, { textContent: job.of, hidden: !job.of });
    put(said, { textContent: [job.what, `seed ${job.seed}`, state].filter(Boolean).join(" · ") });
    const whole = [job.title, job.of, said.textContent].filter(Boolean).join(", ");
    item.setAttribute("aria-label", job.running ? whole : `${place + 1} of ${waiting.length} waiting: ${whole}. Alt and arrow keys move it.`);
    put(item, { draggable: !job.running });
    item.classList.toggle("runs", job.running);
    const labels = { edit: "Edit", up: "Move up", down: "Move down", cancel: job.running ? "Stop" : "Cancel" };
    for (const [act, made] of Object.entries(acts)) {
      put(made, { hidden: job.running && act !== "cancel", title: labels[act], disabled: act === "up" ? place === 0 : act === "down" && place === waiting.length - 1 });
      made.setAttribute("aria-label", `${labels[act]}: ${job.title}, seed ${job.seed}`);
    }
  }

  const icon = (text, onclick, className = "icon-btn") => el("button", { type: "button", className, textContent: text, onclick });

  function drags(item, id, move) {
    item.ondragstart = (event) => { dragged = { id, move }; event.dataTransfer.effectAllowed = "move"; event.dataTransfer.setData("text/plain", id); };
    item.ondragend = () => { dragged = null; };
    item.ondragover = (event) => { if (dragged && dragged.id !== id && at(id) >= 0) { event.preventDefault(); item.dataset.over = below(event, item) ? "after" : "before"; } };
    item.ondragleave = () => { delete item.dataset.over; };
    item.ondrop = (event) => {
      event.preventDefault();
      const from = dragged;
      delete item.dataset.over;
      dragged = null;
      if (from && from.id !== id) from.move(below(event, item) ? "after" : "before", id);
    };
  }

  const below = (event, item) => { const box = item.getBoundingClientRect(); return event.clientY > box.top + box.height / 2; };

  addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  timer = setTimeout(ask, 1500);
  svdui.queue = ask;
})();
