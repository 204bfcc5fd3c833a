"use strict";
// The pictures are all in the page; this only chooses which are seen, and where the divider is.
(() => {
  const stage = document.getElementById("stage");
  const divider = document.getElementById("divider");
  const caption = document.getElementById("caption");
  const scale = document.querySelector(".scale");
  const shots = [...stage.querySelectorAll(".shot")];

  const moveDivider = () => {
    const share = Number(divider.value);
    stage.style.setProperty("--at", String(share / 100));
    divider.setAttribute("aria-valuetext", `${share} % source, ${100 - share} % result`);
  };
  const chooseView = (view) => {
    stage.dataset.view = view;
    divider.disabled = view !== "slide";
    scale.hidden = view !== "heat";
  };
  const chooseShot = (choice) => {
    for (const shot of shots) shot.hidden = shot.dataset.shot !== choice.value;
    caption.textContent = choice.dataset.caption;
    const strip = choice.closest(".strip");
    const thumb = choice.parentElement;
    const beyond = thumb.offsetLeft + thumb.offsetWidth - strip.scrollLeft - strip.clientWidth;
    if (beyond > 0) strip.scrollLeft += beyond + 8;
    if (thumb.offsetLeft < strip.scrollLeft) strip.scrollLeft = thumb.offsetLeft - 8;
  };

  divider.addEventListener("input", moveDivider);
  for (const choice of document.getElementsByName("view"))
    choice.addEventListener("change", () => chooseView(choice.value));
  for (const choice of document.getElementsByName("shot"))
    choice.addEventListener("change", () => chooseShot(choice));

  const copy = document.getElementById("copy");
  if (copy) {
    copy.addEventListener("click", async () => {
      const command = document.getElementById("command");
      getSelection().selectAllChildren(command);
      try {
        await navigator.clipboard.writeText(command.textContent);
        copy.textContent = "Copied";
      } catch {
        copy.textContent = "Selected"; // a file may not write to the clipboard everywhere
      }
      setTimeout(() => { copy.textContent = "Copy"; }, 2000);
    });
  }

  // A browser that goes back may have kept the inputs as they were left.
  moveDivider();
  chooseView(document.querySelector("[name=view]:checked").value);
  chooseShot(document.querySelector("[name=shot]:checked"));
})();
