/** The list as a drawer, and the height of what is visible, on small screens. */

import { find } from "./view.js";

function openDrawer(isOpen = true) {
  document.body.dataset.drawer = isOpen ? "open" : "closed";
  find("open-drawer").ariaExpanded = isOpen;
  find("main").inert = isOpen;
  if (isOpen) find("close-drawer").focus();
}

export function closeDrawer() {
  if (document.body.dataset.drawer !== "open") return;
  openDrawer(false);
  find("open-drawer").focus();
}

find("open-drawer").addEventListener("click", () => openDrawer());
find("close-drawer").addEventListener("click", closeDrawer);
find("backdrop").addEventListener("click", closeDrawer);
find("drawer").addEventListener("click", ({ target }) => {
  if (target.closest("[aria-current]")) closeDrawer();
});
addEventListener("keydown", ({ key }) => key === "Escape" && closeDrawer());
matchMedia("(min-width: 48rem)").addEventListener("change", closeDrawer);

// The keyboard of a phone makes the visible part smaller. Some browsers do not adapt the layout.
visualViewport?.addEventListener("resize", () => {
  document.documentElement.style.setProperty("--height", `${visualViewport.height}px`);
  scrollTo(0, 0);
});
