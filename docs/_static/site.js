// What the theme lacks for keyboards and screen readers: wide code and tables can be scrolled by keys, captions of the
// sidebar have a level, and landmarks have names of their own.
document.addEventListener("DOMContentLoaded", () => {
  const wide = '.content pre, .content table.docutils, .content p:has(> img[src$=".svg"])';
  for (const box of document.querySelectorAll(wide)) box.tabIndex = 0;
  for (const caption of document.querySelectorAll('.caption[role="heading"]')) caption.ariaLevel = "2";
  document.querySelector("aside.sidebar-drawer")?.setAttribute("aria-label", "All pages");
  document.querySelector("aside.toc-drawer")?.setAttribute("aria-label", "On this page");
  const icons = document.querySelector(".content-icon-container");
  icons?.setAttribute("role", "navigation");
  icons?.setAttribute("aria-label", "This page");
});
