element.addEventListener("click", (event) => {
  if (event.target.closest("[data-theme]")) document.body.classList.toggle("dark");
});
