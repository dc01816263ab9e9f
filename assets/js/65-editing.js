// A clip that waits is edited in the form: the run bar then saves it, and the list above the history says when it has begun.
(() => {
  const { $ } = svdui;
  let act = () => {}, id = "", told = "";

  function editing(element, trigger, watch) {
    svdui.delegate(element, trigger);
    act = trigger;
    const sync = () => {
      const acts = $(".edit-acts", element), before = id;
      id = acts?.dataset.id || "";
      document.body.dataset.editing = id ? "yes" : "";
      if (acts?.dataset.wall && id !== before) svdui.openWall(true);
      if (!id && before) { svdui.openWall(false); svdui.queue?.(); }
      mark();
    };
    watch("value", sync);
    sync();
  }

  function mark() {
    for (const row of document.querySelectorAll("#queue li")) row.classList.toggle("edited", row.dataset.id === id);
  }

  // The settings are in the form, or it is as it was before.
  function edited(on) {
    if ($(".dial.invalid")) return svdui.submitted();
    const row = `#queue li.edited, #queue li[data-id="${CSS.escape(told)}"]`;
    if (on && id) {
      told = id;
      $("#left").scrollIntoView({ block: "start" });
      $("#source input:checked")?.focus({ preventScroll: true }); // no keyboard comes up on a phone
    } else if (!id) {
      ($(row) || $("#animate"))?.focus();
    }
  }

  // What waits now: the one that is edited may have begun, which is asked and said once.
  function editable(ids) {
    mark();
    if (id && !ids.includes(id)) act("begun", { id });
  }

  function leaveEdit() {
    if (id) act("leave");
    return Boolean(id);
  }

  Object.assign(svdui, { editing, edited, editable, leaveEdit, edits: () => Boolean(id), edit: (one) => act("edit", { id: one }) });
})();
