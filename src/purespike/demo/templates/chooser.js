// Tells the page which picture was chosen: an example, a file, or a drawing.
const LIMIT = 5 * 1024 * 1024;
const say = text => { element.querySelector(".ps-say").textContent = text; };
const send = (kind, image) => { say(""); trigger("submit", { kind, image }); };
const context = canvas => {
  const made = canvas.getContext("2d");
  made.lineWidth = 20; made.lineCap = made.lineJoin = "round"; made.strokeStyle = made.fillStyle = "#fff";
  return made;
};
const blank = canvas => { const made = context(canvas); made.fillStyle = "#000"; made.fillRect(0, 0, 224, 224); };
const place = (canvas, event) => {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  return [(event.clientX - left) * canvas.width / width, (event.clientY - top) * canvas.height / height];
};
let last = null, begun = null;

element.addEventListener("click", event => {
  const example = event.target.closest("[data-example]");
  if (example) send("example", example.dataset.example);
  if (event.target.closest(".ps-clear")) blank(element.querySelector(".ps-canvas"));
});
element.addEventListener("change", event => {
  const file = event.target.files && event.target.files[0];
  if (!file) return;
  event.stopPropagation();
  if (file.size > LIMIT) { say("This file is larger than 5 MB."); event.target.value = ""; return; }
  const reader = new FileReader();
  reader.onload = () => send("upload", reader.result);
  reader.onerror = () => say("This file cannot be read.");
  reader.readAsDataURL(file);
});
element.addEventListener("pointerdown", event => {
  if (!event.target.matches(".ps-canvas")) return;
  // a canvas that is new, or of other models, has no ground yet
  if (begun !== event.target) { blank(event.target); begun = event.target; }
  event.target.setPointerCapture(event.pointerId);
  last = place(event.target, event);
  const made = context(event.target);
  made.beginPath(); made.arc(...last, 10, 0, 2 * Math.PI); made.fill();
});
element.addEventListener("pointermove", event => {
  if (!last || !event.target.matches(".ps-canvas")) return;
  const made = context(event.target), next = place(event.target, event);
  made.beginPath(); made.moveTo(...last); made.lineTo(...next); made.stroke();
  last = next;
});
element.addEventListener("pointerup", event => {
  if (!last || !event.target.matches(".ps-canvas")) return;
  last = null;
  send("drawing", event.target.toDataURL("image/png"));
});
