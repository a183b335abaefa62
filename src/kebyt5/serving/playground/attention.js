// Shades the input for the output character that is pointed at, focused or clicked.
const choose = (button) => {
  if (!button) return;
  for (const other of element.querySelectorAll("[data-weights]"))
    other.setAttribute("aria-pressed", other === button);
  const weights = atob(button.dataset.weights);
  element.querySelectorAll(".input i").forEach((character, i) => {
    character.style.setProperty("--w", weights.charCodeAt(i) / 255);
  });
  element.querySelector(".peak span").textContent = button.dataset.peak;
};
for (const name of ["mouseover", "focusin", "click"])
  element.addEventListener(name, (event) => choose(event.target.closest("[data-weights]")));
