// The list of LoRAs: a tick chooses one, its slider weighs it. The number follows the slider, the server hears where it stops.
(() => {
  function loras(element, trigger) {
    element.addEventListener("change", (event) => {
      const { lora, weight } = event.target.dataset;
      if (lora) trigger("choose", { name: lora });
      else if (weight) trigger("weigh", { name: weight, weight: Number(event.target.value) });
    });
    element.addEventListener("input", (event) => {
      const output = event.target.dataset.weight && event.target.parentElement.querySelector("output");
      if (output) output.textContent = Number(event.target.value).toFixed(2);
    });
  }

  Object.assign(svdui, { loras });
})();
