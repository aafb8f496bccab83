// HTML or SVG text; parts with a data-key are selectable with the mouse or the keyboard.
function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "bac-picture";
  box.dataset.lmSuppressShortcuts = "true"; // this widget handles the keys, not the notebook
  el.appendChild(box);
  let from = null;
  const show = () => {
    const focused = box.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    box.innerHTML = model.get("html");
    if (focused) {
      const again = box.querySelector(`[data-key="${CSS.escape(focused)}"]`);
      if (again) again.focus();
    }
  };
  const keyOf = (event) => {
    const part = event.target.closest ? event.target.closest("[data-key]") : null;
    return part && box.contains(part) ? part.dataset.key : null;
  };
  // A drag selects from the part where the button is pressed to the part where it is released.
  box.addEventListener("pointerdown", (event) => { from = keyOf(event); });
  box.addEventListener("pointerup", (event) => {
    const to = keyOf(event);
    if (from !== null && to !== null) model.send({ type: "pick", from, to, add: event.shiftKey || event.ctrlKey });
    from = null;
  });
  box.addEventListener("keydown", (event) => {
    const key = keyOf(event);
    if (key === null || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    event.stopPropagation();
    model.send({ type: "pick", from: key, to: key, add: event.shiftKey || event.ctrlKey });
  });
  model.on("change:html", show);
  show();
  return () => model.off("change:html", show);
}
export default { render };
