// Light and dark: as the system says, or as the button says.
import { element } from "./dom.js";
import { icon } from "./icons.js";

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Have the page printed in light colours, and complete. */
export function printable(fill, changed) {
  let chosen = null;
  addEventListener("beforeprint", () => {
    chosen = document.documentElement.dataset.theme ?? null;
    document.documentElement.dataset.theme = "light";
    fill();
    changed();
  });
  addEventListener("afterprint", () => {
    if (chosen === null) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    changed();
  });
}

/** The button that turns the lights on and off. */
export function themeButton(changed) {
  const button = element("button", { type: "button", id: "theme" });
  const show = () => {
    button.replaceChildren(icon(isDark() ? "light" : "dark"), isDark() ? "light" : "dark");
    button.title = `change to ${isDark() ? "light" : "dark"} colours`;
    button.setAttribute("aria-label", button.title);
  };
  button.addEventListener("click", (event) => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    show();
    changed();
    if (event.detail) button.blur();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    show();
    changed();
  });
  show();
  return button;
}
