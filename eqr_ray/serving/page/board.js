// The puzzle that is asked (cells that can be edited) and the small boards of trajectories (drawn).

const MAZE_CLASS = { " ": "open", "#": "wall", S: "start", G: "goal", o: "path" };
const MAZE_NAME = { " ": "open", "#": "wall", S: "start", G: "goal", o: "path" };

export class Board {
  constructor(element, onChange) {
    this.element = element;
    this.onChange = onChange;
    this.cells = [];
    element.addEventListener("keydown", (event) => this.#key(event));
    element.addEventListener("click", (event) => this.#click(event));
  }

  // Shows an empty board of a model.
  shape(model) {
    this.model = model;
    this.blank = model.family === "maze" ? " " : ".";
    this.at = 0;
    const { element } = this;
    element.className = `board ${model.family}`;
    element.style.gridTemplateColumns = `repeat(${model.cols}, minmax(0, 1fr))`;
    element.style.setProperty("--ratio", `${model.cols} / ${model.rows}`);
    element.style.setProperty("--digit", `min(${(11 / model.cols).toFixed(2)}rem, 1.7rem)`);
    element.replaceChildren();
    this.cells = [];
    for (let row = 0; row < model.rows; row += 1) {
      const line = document.createElement("div");
      line.setAttribute("role", "row");
      line.style.display = "contents";
      for (let col = 0; col < model.cols; col += 1) {
        const cell = document.createElement("div");
        cell.setAttribute("role", "gridcell");
        cell.tabIndex = this.cells.length ? -1 : 0;
        if (model.box_cols && (col + 1) % model.box_cols === 0) cell.classList.add("box-right");
        if (model.box_rows && (row + 1) % model.box_rows === 0) cell.classList.add("box-below");
        if (col + 1 === model.cols) cell.classList.add("last-col");
        if (row + 1 === model.rows) cell.classList.add("last-row");
        this.cells.push(cell);
        line.append(cell);
      }
      element.append(line);
    }
    this.set(this.blank.repeat(model.rows * model.cols));
  }

  set(question) {
    this.question = question;
    this.drawn = [];
    this.show(null);
  }

  // Shows the question, and an answer in its blank cells where there is one; `thinking`: it may still change.
  show(answer, thinking = false) {
    this.element.classList.toggle("thinking", thinking);
    this.cells.forEach((cell, at) => {
      const given = this.question[at];
      const mark = answer ? answer[at] : given;
      const answered = answer !== null && given === this.blank;
      if (this.drawn[at] === `${mark}${answered}`) return;
      this.drawn[at] = `${mark}${answered}`;
      this.#draw(cell, at, mark, answered);
    });
    this.answer = answer;
  }

  put(mark) {
    const marks = [...this.question];
    if (this.model.family === "maze" && (mark === "S" || mark === "G")) {
      marks.forEach((other, at) => { if (other === mark) marks[at] = " "; });
    }
    marks[this.at] = mark;
    this.set(marks.join(""));
    this.onChange(this.question);
  }

  #draw(cell, at, mark, answered) {
    const place = `row ${Math.floor(at / this.model.cols) + 1} column ${(at % this.model.cols) + 1}`;
    if (this.model.family === "maze") {
      for (const name of Object.values(MAZE_CLASS)) cell.classList.toggle(name, MAZE_CLASS[mark] === name);
      cell.textContent = mark === "S" || mark === "G" ? mark : "";
      cell.setAttribute("aria-label", `${MAZE_NAME[mark]}, ${place}`);
      return;
    }
    cell.textContent = mark === "." ? "" : mark;
    cell.classList.toggle("answer", answered);
    cell.setAttribute("aria-label", `${mark === "." ? "blank" : mark}${answered ? ", answered" : ""}, ${place}`);
  }

  #click(event) {
    const at = this.cells.indexOf(event.target);
    if (at < 0) return;
    const again = at === this.at;
    this.#focus(at);
    if (this.model.family === "maze" && again && "# ".includes(this.question[at])) {
      this.put(this.question[at] === "#" ? " " : "#");
    }
  }

  #focus(at) {
    this.cells[this.at].tabIndex = -1;
    this.at = at;
    this.cells[at].tabIndex = 0;
    this.cells[at].focus();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { rows, cols } = this.model;
    const row = Math.floor(this.at / cols), col = this.at % cols;
    const moves = {
      ArrowUp: [Math.max(row - 1, 0), col], ArrowDown: [Math.min(row + 1, rows - 1), col],
      ArrowLeft: [row, Math.max(col - 1, 0)], ArrowRight: [row, Math.min(col + 1, cols - 1)],
      Home: [row, 0], End: [row, cols - 1],
    };
    if (event.key in moves) {
      const [toRow, toCol] = moves[event.key];
      this.#focus(toRow * cols + toCol);
    } else if (event.key === "Delete" || event.key === "Backspace" || (event.key === "0" && this.blank === ".")) {
      this.put(this.blank);
    } else {
      const mark = this.model.symbols.includes(event.key) ? event.key : event.key.toUpperCase();
      if (mark.length !== 1 || mark === "o" || !this.model.symbols.includes(mark)) return;
      this.put(mark);
      if (this.model.family !== "maze") this.#focus(Math.min(this.at + 1, rows * cols - 1));
    }
    event.preventDefault();
  }
}

// Reads what was typed: the question in the notation of a board, or null where its length or a character does not fit.
export function parse(text, model) {
  const size = model.rows * model.cols;
  if (model.family === "maze") {
    const line = text.replace(/[\r\n]/g, "");
    return line.length === size && [...line].every((mark) => model.symbols.includes(mark)) ? line : null;
  }
  const line = text.replace(/[\s|+-]/g, "").replace(/[0_*]/g, ".").toUpperCase();
  return line.length === size && [...line].every((mark) => model.symbols.includes(mark)) ? line : null;
}

// Draws what a trajectory decodes to; cells that changed in the last iterations are lit.
export class Miniature {
  constructor(model, question, colour) {
    this.model = model;
    this.question = question;
    this.colour = colour;
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.style.borderColor = colour;
    this.canvas.style.aspectRatio = `${model.cols} / ${model.rows}`;
    this.heat = new Float32Array(model.rows * model.cols);
    this.answer = null;
  }

  update(answer) {
    for (let at = 0; at < answer.length; at += 1) {
      this.heat[at] = this.answer && this.answer[at] !== answer[at] ? 1 : this.heat[at] * 0.6;
    }
    this.answer = answer;
  }

  draw(ink) {
    const { canvas, model, answer } = this;
    const width = canvas.clientWidth || 130;
    const scale = window.devicePixelRatio || 1;
    const height = (width * model.rows) / model.cols;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const side = width / model.cols;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let at = 0; at < answer.length; at += 1) {
      const x = (at % model.cols) * side, y = Math.floor(at / model.cols) * side;
      if (this.heat[at] > 0.05) {
        context.globalAlpha = this.heat[at];
        context.fillStyle = ink.changed;
        context.fillRect(x, y, side, side);
        context.globalAlpha = 1;
      }
      if (model.family === "maze") this.#mazeCell(context, answer[at], x, y, side, ink);
      else this.#digit(context, at, x, y, side, ink);
    }
    if (model.box_cols) this.#boxes(context, width, height, side, ink);
  }

  #digit(context, at, x, y, side, ink) {
    const mark = this.answer[at];
    if (mark === ".") return;
    const given = this.question[at] !== ".";
    context.font = `${given ? 700 : 400} ${side * 0.68}px system-ui, sans-serif`;
    context.fillStyle = given ? ink.soft : this.colour;
    context.fillText(mark, x + side / 2, y + side / 2 + side * 0.04);
  }

  #mazeCell(context, mark, x, y, side, ink) {
    const fill = { "#": ink.wall, S: ink.accent, G: ink.bad, o: this.colour }[mark];
    if (!fill) return;
    context.fillStyle = fill;
    context.fillRect(x, y, side + 0.4, side + 0.4);
  }

  #boxes(context, width, height, side, ink) {
    context.strokeStyle = ink.line;
    context.lineWidth = 1;
    context.beginPath();
    for (let col = this.model.box_cols; col < this.model.cols; col += this.model.box_cols) {
      context.moveTo(col * side, 0);
      context.lineTo(col * side, height);
    }
    for (let row = this.model.box_rows; row < this.model.rows; row += this.model.box_rows) {
      context.moveTo(0, row * side);
      context.lineTo(width, row * side);
    }
    context.stroke();
  }
}

export function inks() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(`--${name}`).trim();
  return Object.fromEntries(["soft", "line", "changed", "wall", "accent", "bad"].map((name) => [name, value(name)]));
}
