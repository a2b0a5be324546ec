// What the tests measure in a page; loaded into it as the functions of `measure`.
window.measure = (() => {
  const visible = element => element.checkVisibility() && element.getBoundingClientRect().width > 0;
  const box = element => {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    return { left, top, right, bottom };
  };

  // "rgb(1, 2, 3)" or "color(srgb …)" as [r, g, b, alpha] in 0…1, by way of the browser's own parser
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const color = text => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map(part => part / 255);
  };
  // relative luminance of WCAG 2
  const luminance = ([r, g, b]) => {
    const linear = [r, g, b].map(part => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const ground = element => {
    for (let each = element; each; each = each.parentElement) {
      const found = color(getComputedStyle(each).backgroundColor);
      if (found[3] === 1) return luminance(found);
    }
    return 1;
  };

  // every visible element with words of its own: its words, the size of its letters on the screen, its contrast
  const words = () => [...document.body.querySelectorAll("*")]
    .filter(element => visible(element) && !element.closest("script, style"))
    .filter(element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    .map(element => {
      const style = getComputedStyle(element), svg = element.closest("svg");
      const scale = svg ? Math.hypot(element.getScreenCTM().a, element.getScreenCTM().b) : 1;
      const ink = luminance(color(svg ? style.fill : style.color)), page = ground(element);
      const contrast = (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05);
      return { text: element.textContent.trim(), size: parseFloat(style.fontSize) * scale, contrast, svg: !!svg };
    });

  // words of each figure that is shown, with their boxes and that of the figure
  const figures = () => [...document.querySelectorAll("figure svg")].filter(visible).map(svg => ({
    box: box(svg),
    words: [...svg.querySelectorAll("text")].map(text => ({ text: text.textContent, ...box(text) })),
  }));

  // whether the middle of each element is on the screen, with nothing in front of it
  const shown = selector => [...document.querySelectorAll(selector)].map(element => {
    scrollBy(0, box(element).top - innerHeight / 2);
    const { left, top, right, bottom } = box(element);
    const front = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    return left >= 0 && right <= innerWidth && element.contains(front);
  });

  // the luminance of every painted background but those of dots
  const grounds = () => [...document.body.querySelectorAll("*")].filter(visible)
    .filter(element => element.getBoundingClientRect().width > 20)
    .map(element => ({ element: element.outerHTML.slice(0, 60), color: color(getComputedStyle(element).backgroundColor) }))
    .filter(({ color }) => color[3] === 1)
    .map(({ element, color }) => ({ element, luminance: luminance(color) }));

  const scroll = share => {
    for (const each of document.querySelectorAll(".scroll"))
      each.scrollLeft = share * (each.scrollWidth - each.clientWidth);
  };
  return { words, figures, shown, grounds, scroll };
})();
