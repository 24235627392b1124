// The page: asks for one puzzle at a time and shows its trajectories on the way to their equilibria.

import { Board, Miniature, inks, parse } from "./board.js";
import { Chart } from "./chart.js";
import { Refused, getJson, watch } from "./stream.js";

const MOST_BOARDS = 24;
const STOPS = {
  consensus: "they agree", converged: "one is sure", nfe_spent: "iterations spent",
  depth_spent: "budget spent", deadline: "time is over",
};
const POLICIES = {
  economy: "Cheapest: gives up where more thinking rarely helps",
  balanced: "The best trade of iterations for accuracy that the tuning found",
  max: "Accuracy first: widens until it is nearly certain",
  adaptive: "One short trajectory, then more depth or breadth until the settled ones agree",
  fixed: "Every trajectory to the full depth, all of them vote: the published protocol",
};
const STATES = { running: "running", converged: "settled", q_halted: "settled", diverged: "diverged" };
const find = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const state = { models: [], policies: [], model: null, run: null, token: sessionStorage.getItem("eqr-token") };
const board = new Board(find("board"), (question) => showText(question));
const chart = new Chart(find("chart"));

function say(problem) {
  find("problem").textContent = problem ?? "";
  find("problem").hidden = !problem;
}

// -- the question ------------------------------------------------------------------------------------------------

function showText(question) {
  const { model } = state;
  const lines = model.family === "maze" ? question.match(new RegExp(`.{${model.cols}}`, "gs")).join("\n") : question;
  find("text").value = lines;
  say(null);
}

function choose(model, question) {
  if (state.model !== model) {
    state.model = model;
    find("model").value = model.name;
    board.shape(model);
    buildPad(model);
    const maze = model.family === "maze";
    find("notation").textContent = `Type or paste, row by row: ${maze ? "# wall, space open, S start, G goal" : ". or 0 for a blank"}`;
    find("text").rows = maze ? Math.min(model.rows, 8) : 2;
    buildExamples(model);
  }
  board.set(question ?? board.blank.repeat(model.rows * model.cols));
  showText(board.question);
}

function readText() {
  const text = find("text").value;
  const fitting = [state.model, ...state.models].find((model) => parse(text, model) !== null);
  if (fitting) {
    const kept = text;
    choose(fitting, parse(text, fitting));
    find("text").value = kept;
  } else if (text.trim()) {
    const size = state.model.rows * state.model.cols;
    say(`${state.model.task} has ${size} cells, written with ${state.model.symbols}; this has ${text.replace(/\s/g, "").length}`);
  }
}

function button(text, label, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

function buildPad(model) {
  const marks = model.family === "maze" ? [["#", "Wall"], [" ", "Open"], ["S", "Start"], ["G", "Goal"]]
    : [...model.symbols.slice(1)].map((mark) => [mark, mark]);
  const buttons = marks.map(([mark, name]) => button(name, `Fill ${name}`, () => board.put(mark)));
  if (model.family !== "maze") buttons.push(button("⌫", "Clear the cell", () => board.put(".")));
  find("pad").style.setProperty("--keys", buttons.length);
  find("pad").style.setProperty("--keys-narrow", buttons.length > 7 ? Math.ceil(buttons.length / 2) : buttons.length);
  find("pad").replaceChildren(...buttons);
}

function buildExamples(model) {
  const last = model.examples.length - 1;
  const name = (at) => (model.family === "maze" ? "" : at === 0 ? ", easy" : at === last ? ", hardest" : "");
  find("examples").replaceChildren(...model.examples.map((question, at) =>
    button(String(at + 1), `Example ${at + 1}${name(at)}`, () => { choose(model, question); settle(); })));
}

// -- the budget --------------------------------------------------------------------------------------------------

function buildPolicies(policies, chosen) {
  find("policies").replaceChildren(...policies.filter((policy) => policy.featured).map((policy) => {
    const label = document.createElement("label");
    const radio = document.createElement("input");
    radio.type = "radio";
    radio.name = "policy";
    radio.value = policy.name;
    radio.checked = policy.name === chosen;
    radio.addEventListener("change", () => showBudget(policy));
    label.append(radio, policy.name);
    return label;
  }));
  showBudget(policies.find((policy) => policy.name === chosen));
}

function showBudget(policy) {
  const most = `at most ${number.format(policy.depth)} × ${number.format(policy.breadth)}, ${number.format(policy.nfe)} iterations unless set below`;
  find("policy-note").textContent = POLICIES[policy.name] ? `${POLICIES[policy.name]}; ${most}.` : `A policy of this endpoint; ${most}.`;
  for (const key of ["depth", "breadth", "nfe"]) {
    find(key).value = "";
    find(key).placeholder = number.format(policy[key]);
  }
}

// With a depth or a breadth of one's own, the iterations left out are all that these allow.
function hintIterations() {
  const policy = state.policies.find((one) => one.name === document.querySelector("[name=policy]:checked").value);
  const own = find("depth").value || find("breadth").value;
  const most = (Number(find("depth").value) || policy.depth) * (Number(find("breadth").value) || policy.breadth);
  find("nfe").placeholder = number.format(own ? most : policy.nfe);
}

function asked() {
  const body = { puzzle: board.question, model: state.model.name };
  body.policy = document.querySelector("[name=policy]:checked").value;
  for (const key of ["depth", "breadth", "nfe", "seed"]) {
    const value = find(key).value.trim();
    if (value) body[key] = Number(value);
  }
  // A trace has a limited number of rows, so a large budget is watched in larger steps.
  body.every = Math.min(64, Math.max(1, Math.ceil(Number(find("nfe").value || find("nfe").placeholder.replace(/\D/g, "")) / state.rows)));
  return body;
}

// -- the search --------------------------------------------------------------------------------------------------

function colour(trajectory) {
  const hue = (165 + trajectory * 137.5) % 360;
  return matchMedia("(prefers-color-scheme: dark)").matches ? `hsl(${hue} 55% 66%)` : `hsl(${hue} 62% 37%)`;
}

function settle() {
  state.run?.abort.abort();
  state.run = null;
  find("solve").disabled = false;
  find("stop").hidden = true;
  find("panels").hidden = find("verdict").hidden = true;
  find("hello").hidden = false;
  board.show(null);
  find("status").textContent = "Choose a puzzle and a budget, then solve.";
  setMeter(0, 1);
}

function setMeter(spent, most) {
  const meter = find("meter");
  meter.setAttribute("aria-valuemax", most);
  meter.setAttribute("aria-valuenow", spent);
  meter.firstElementChild.style.transform = `scaleX(${Math.min(1, spent / most)})`;
}

async function solve() {
  if (!state.model) return;
  settle();
  say(null);
  const run = { abort: new AbortController(), boards: new Map(), votes: [], nfe: 0, stale: true, model: state.model };
  state.run = run;
  chart.clear();
  find("boards").replaceChildren();
  find("votes").replaceChildren();
  find("solve").disabled = true;
  find("stop").hidden = false;
  find("status").textContent = "Thinking …";
  if (matchMedia("(max-width: 800px)").matches) find("results").scrollIntoView({ behavior: "smooth" });
  try {
    await watch("v1/solve/stream", asked(), state.token, run.abort.signal, (name, data) => EVENTS[name]?.(run, data));
  } catch (error) {
    if (state.run !== run) return;
    draw(run);
    run.over = true;
    if (error instanceof Refused && error.status === 401) await askToken();
    if (error.name === "AbortError") find("status").textContent = `Stopped after ${number.format(run.nfe)} iterations.`;
    else {
      find("status").textContent = "No answer.";
      say(error instanceof Refused ? error.message : "the endpoint cannot be reached; try again");
    }
  } finally {
    if (state.run === run) {
      run.over = true;
      draw(run);
      if (!run.done) board.show(null);
      find("solve").disabled = false;
      find("stop").hidden = true;
    }
  }
}

const EVENTS = {
  start(run, data) {
    run.question = data.question;
    run.most = data.policy.nfe;
    run.depth = data.policy.depth;
    find("hello").hidden = true;
    find("panels").hidden = false;
  },
  trace(run, data) {
    for (const row of data.rows) {
      const hue = colour(row.trajectory);
      chart.add(row.trajectory, hue, row.depth, row.residual, row.status);
      if (!run.boards.has(row.trajectory)) run.boards.set(row.trajectory, { index: row.trajectory, hue });
      const one = run.boards.get(row.trajectory);
      Object.assign(one, { row, stale: true });
      if (row.trajectory < MOST_BOARDS) {
        if (!one.picture) hang(run, one);
        one.picture.update(row.answer);
      }
    }
    run.votes = data.votes;
    run.nfe = data.nfe;
    if (!run.frame) run.frame = requestAnimationFrame(() => { run.frame = null; if (state.run === run) draw(run); });
  },
  verdict(run, data) {
    draw(run);
    conclude(run, data);
  },
  error(run, data) {
    find("status").textContent = "No answer.";
    say(data.message);
  },
};

function hang(run, one) {
  const article = document.createElement("article");
  one.picture = new Miniature(run.model, run.question, one.hue);
  one.note = document.createElement("p");
  article.append(one.picture.canvas, one.note);
  find("boards").append(article);
  one.article = article;
}

function draw(run) {
  if (run.most === undefined) return;
  const ink = inks();
  for (const one of run.boards.values()) {
    if (!one.stale || !one.picture) continue;
    one.stale = false;
    const { row } = one;
    const name = row.status !== "running" ? STATES[row.status] : row.depth >= run.depth ? "full depth" : run.done ? "unsettled" : "running";
    one.picture.draw(ink);
    one.article.className = STATES[row.status] === "settled" ? "settled" : row.status;
    one.picture.canvas.setAttribute("aria-label", `trajectory ${one.index + 1}: ${name} at iteration ${row.depth}`);
    one.picture.canvas.dataset.answer = row.answer;
    const facts = Object.assign(document.createElement("span"), { textContent: `${row.depth} it.` });
    const q = row.q_halt === null ? "" : ` q ${row.q_halt.toFixed(1)}`;
    facts.append(Object.assign(document.createElement("span"), { className: "q", textContent: q }));
    one.note.replaceChildren(Object.assign(document.createElement("b"), { textContent: name }), facts);
  }
  chart.draw();
  const hidden = Math.max(0, run.boards.size - MOST_BOARDS);
  find("boards-note").textContent = hidden ? `(the first ${MOST_BOARDS} of ${run.boards.size})` : "decode to these boards; changed cells light up";
  if (!run.over) {
    showVotes(run, run.votes.map((vote) => ({ ...vote, share: vote.count })));
    find("votes-note").textContent = "of trajectories that have settled";
    const leader = leading(run);
    if (leader) board.show(leader, true);
  }
  setMeter(run.nfe, run.most);
  if (run.over) return;
  find("status").textContent = `${spent(run, run.boards.size)} …`;
}

// What is shown on the large board meanwhile: the answer with most votes, or that of the calmest trajectory.
function leading(run) {
  if (run.votes.length) return run.votes[0].answer;
  let best = null;
  for (const { row } of run.boards.values()) {
    if (best === null || (row.residual ?? Infinity) < (best.residual ?? Infinity)) best = row;
  }
  return best?.answer;
}

function spent(run, count) {
  const trajectories = `${number.format(count)} ${count === 1 ? "trajectory" : "trajectories"}`;
  return `${number.format(run.nfe)} of at most ${number.format(run.most)} iterations, ${trajectories}`;
}

// Each answer as a small board; cells in which it differs from the leader's are lit.
function showVotes(run, votes) {
  const most = Math.max(...votes.map((vote) => vote.share), 1e-9);
  const pictures = [];
  const lines = votes.slice(0, 6).map((vote, at) => {
    const line = document.createElement("li");
    line.classList.toggle("leader", at === 0);
    const bar = document.createElement("i");
    bar.style.transform = `scaleX(${vote.share / most})`;
    const picture = new Miniature(run.model, run.question, getComputedStyle(document.documentElement).getPropertyValue(at ? "--strong" : "--accent"));
    picture.update(votes[0].answer);
    picture.update(vote.answer);
    picture.canvas.setAttribute("aria-label", `answer ${at + 1}`);
    const counted = `${vote.count} ${vote.count === 1 ? "vote" : "votes"}`;
    const text = vote.weight === undefined ? counted : `${counted} · ${vote.weight >= 0.9995 ? "> 99.9" : (100 * vote.weight).toFixed(1)} %`;
    line.append(picture.canvas, bar, Object.assign(document.createElement("span"), { textContent: text }));
    pictures.push(picture);
    return line;
  });
  if (!lines.length) lines.push(Object.assign(document.createElement("li"), { className: "none", textContent: "none yet" }));
  find("votes").replaceChildren(...lines);
  const ink = inks();
  for (const picture of pictures) picture.draw(ink);
}

function conclude(run, data) {
  const { verdict } = data;
  board.show(verdict.prediction);
  const settled = verdict.votes > 0;
  // Rounding must not claim certainty.
  find("headline").textContent = verdict.confidence >= 0.9995 ? "over 99.9 % confident" : `${(100 * verdict.confidence).toFixed(1)} % confident`;
  find("votes-note").textContent = settled ? "of the trajectories that count, and the probability that the policy gives each answer" : "";
  find("rules").textContent = verdict.valid ? "✓ obeys the rules" : "✗ breaks the rules";
  find("rules").classList.toggle("broken", !verdict.valid);
  const facts = [
    ["Iterations", number.format(verdict.nfe)], ["Trajectories", number.format(verdict.breadth)], ["Deepest", number.format(verdict.depth)],
    ["Votes", settled ? `${verdict.votes} for it` : "none settled"], ["Answers", number.format(verdict.distinct_answers)],
    ["Residual", verdict.residual === null ? "–" : verdict.residual.toPrecision(2)],
    ["Time", `${data.elapsed_s.toFixed(2)} s`], ["Stopped", STOPS[verdict.stop] ?? verdict.stop],
  ];
  find("facts").replaceChildren(...facts.map(([term, value]) => {
    const pair = document.createElement("div");
    pair.append(Object.assign(document.createElement("dt"), { textContent: term }), Object.assign(document.createElement("dd"), { textContent: value }));
    return pair;
  }));
  find("verdict").hidden = false;
  showVotes(run, verdict.ballot.map((one) => ({ ...one, share: one.weight })));
  run.over = run.done = true;
  for (const one of run.boards.values()) one.stale = true;
  find("status").textContent = `Done: ${spent(run, verdict.breadth)}.`;
}

// -- begin -------------------------------------------------------------------------------------------------------

async function askToken() {
  const dialog = find("token-dialog");
  dialog.showModal();
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  state.token = find("token").value;
  sessionStorage.setItem("eqr-token", state.token);
}

function title(model) {
  const board = `${model.family === "maze" ? "Maze" : "Sudoku"} ${model.rows} × ${model.cols}`;
  const alone = state.models.filter((other) => other.task === model.task).length === 1;
  return alone ? board : `${board} · ${model.name}`;
}

async function begin() {
  try {
    const listed = await getJson("v1/models", state.token);
    state.models = listed.models;
    state.policies = listed.policies;
    state.rows = listed.limits.trace_rows;
    find("model").replaceChildren(...listed.models.map((model) => new Option(title(model), model.name)));
    find("model").disabled = false;
    buildPolicies(listed.policies, listed.default_policy);
    choose(listed.models[0], listed.models[0].examples.at(-1));
    find("solve").disabled = false;
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      await askToken();
      await begin();
    } else say(error instanceof Refused ? error.message : "the endpoint cannot be reached; load the page again");
  }
}

find("model").addEventListener("change", (event) => {
  const model = state.models.find((one) => one.name === event.target.value);
  choose(model, model.examples.at(-1));
  settle();
});
find("text").addEventListener("input", readText);
for (const key of ["depth", "breadth"]) find(key).addEventListener("input", hintIterations);
find("clear").addEventListener("click", () => { choose(state.model, null); settle(); });
find("solve").addEventListener("click", solve);
find("stop").addEventListener("click", () => state.run?.abort.abort());
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) solve();
  if (event.key === "Escape" && !find("stop").hidden) state.run?.abort.abort();
});
window.addEventListener("resize", () => {
  if (!state.run) return;
  for (const one of state.run.boards.values()) one.stale = true;
  draw(state.run);
});
begin();
