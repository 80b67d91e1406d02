"use strict";
// The labeller's page. The server says what comes next; a post leaves the screen only when its label is on disk.

const api = "/api/labeller/";
const classes = { 1: "bearish", 2: "neutral", 3: "bullish" };
const signs = { 1: "▼ bearish", 2: "● neutral", 3: "▲ bullish" };
const absent = {
  pending: "The picture is on its way.", "not fetched": "The picture was not fetched.", missing: "The picture is gone.",
  spoiler: "The poster hid the picture.", deleted: "The board deleted the picture.", purged: "The board deleted the picture.",
  expired: "The picture's time was over.", blocked: "The picture is blocked.", hidden: "The picture is being deleted.",
  failed: "The picture could not be fetched.", rejected: "The file was refused.", foreign: "The picture lies elsewhere.",
};
const hastyMs = 400;       // a label so quick gets a hint
const retryMs = 700;
const lateMs = 500;        // a save that takes longer is said
const saving = "Saving …";
const mostWaiting = 50;

const $ = (id) => document.getElementById(id);
let sitting = null;        // what holds for the whole sitting
let view = { upcoming: [], progress: {}, state: "loading" };
let past = [];             // decided posts, newest first, as far as they were looked at
let back = 0;              // how many posts back one looks; 0: the post to label
let current = null;        // the post on the screen
let draft = null;          // what is not saved yet: flag, note, what was seen
let unsaved = null;        // a request that failed: sent again as it was, it is one label
let clockOffset = 0;       // server's clock less the browser's
let shownAt = 0;
let busy = false;
let turns = 0;             // how often the page was busy: what was asked before the last of them is stale
const waiting = [];        // keys pressed while busy: each means the post that is shown when its turn comes
let sheet = null;          // the id of what lies over the page
let answers = null;
let focused = null;        // what had the keyboard when the sheet opened
let showAll = { picture: false, text: false, suggestion: false };
let polling = 0;
const images = new Map();  // by thread, loaded ahead

class Refused extends Error {
  constructor(answer) { super(answer.error); this.view = answer.view; }
}

async function request(path, body) {
  const options = { cache: "no-store", credentials: "same-origin" };
  if (body) {
    options.method = "POST";
    options.headers = { "Content-Type": "application/json", "X-BizCharts-CSRF": sitting.csrf };
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(api + path, options);
  } catch {
    throw new Error("the labeller does not answer. Is it running?");
  }
  if (response.status === 403) throw new Error("the labeller was started anew. Open the address that it printed.");
  const answer = await response.json().catch(() => ({}));
  if (response.status === 409) throw new Refused(answer);
  if (!response.ok) throw new Error(answer.error || `the labeller answered ${response.status}.`);
  return answer;
}

// What is shown

function accept(answer) {
  view = answer;
  clockOffset = Date.parse(answer.now + "Z") - Date.now();
  const wanted = new Set(answer.upcoming.map((post) => post.thread_id));
  for (const thread of images.keys()) if (!wanted.has(thread)) images.delete(thread);
  for (const post of answer.upcoming) load(post);
  if (back === 0) show(answer.upcoming[0] || null);
  showProgress();
  schedulePolling();
}

function load(post) {
  if (post.picture?.status !== "stored" || images.has(post.thread_id)) return images.get(post.thread_id);
  const image = new Image();
  image.alt = "";
  image.decoding = "sync";
  image.draggable = false;
  image.src = `${api}pictures/${post.thread_id}`;
  image.addEventListener("load", () => { if (current?.thread_id === post.thread_id) showPicture(); });
  image.decode().catch(() => { image.dataset.broken = "yes"; if (current?.thread_id === post.thread_id) showPicture(); });
  images.set(post.thread_id, image);
  return image;
}

function show(post) {
  if (!draft || post?.thread_id !== current?.thread_id) {
    // What is shown or covered on this post alone is null until a key says so.
    draft = { flag: post?.former?.flag || null, notes: post?.former?.notes || null, sawSuggestion: false,
              sawPicture: false, picture: null, text: null };
    if (draft.flag === "illegal") draft.flag = null;
    shownAt = performance.now();
    $("words").scrollTop = 0;
  }
  current = post;
  $("subject").textContent = post?.subject || "";
  const lines = (post?.text || "").split("\n").map((line) => {
    const element = document.createElement("div");
    element.textContent = line || " ";
    if (line.startsWith(">")) element.className = "quote";
    return element;
  });
  if (post && !post.text && !post.subject) {
    lines[0].textContent = "No text.";
    lines[0].className = "none";
  }
  $("text").replaceChildren(...lines);
  $("facts").textContent = post ? [
    post.posted_at && `${post.posted_at.replace("T", " ")} UTC`, post.source, `No. ${post.thread_id}`,
  ].filter(Boolean).join(" · ") : "";
  document.body.dataset.thread = post ? post.thread_id : "";
  showPicture();
  showMask();
  showMarks();
  showState();
}

function showPicture() {
  const picture = current?.picture;
  const image = picture?.status === "stored" ? load(current) : null;
  const broken = image?.dataset.broken;
  const covered = Boolean(image) && !broken && isBlurred();
  if (image?.complete && image.naturalWidth && !broken && !covered) draft.sawPicture = true;
  $("frame").classList.toggle("blurred", covered);
  if (!image || broken) $("frame").replaceChildren();
  else if ($("frame").firstChild !== image) $("frame").replaceChildren(image);
  $("cover").textContent = !current ? "" : !picture ? "No picture." : broken ? "The picture is gone."
    : !image ? absent[picture.status] || "There is no picture to show." : covered ? "b shows the picture" : "";
}

function isBlurred() {
  if (draft.picture !== null) return !draft.picture;
  return current.picture.blurred || (sitting.blur && !showAll.picture);
}

function showMask() {
  $("post").classList.toggle("masked", Boolean(current) && isMasked());
}

function isMasked() {
  return draft.text !== null ? !draft.text : sitting.mask_text && !showAll.text;
}

function showMarks() {
  const marks = [];
  const add = (text, kind) => {
    const mark = document.createElement("span");
    mark.textContent = text;
    if (kind) mark.className = kind;
    marks.push(mark);
  };
  const former = current?.former;
  if (former) add(`was ${former.rating ? signs[former.rating] : "skipped"}`, classes[former.rating]);
  if (draft?.flag) add(`flag: ${draft.flag}`);
  if (draft?.notes) add(`note: ${draft.notes}`, "note");
  if (current && showAll.suggestion) {
    if (current.suggestion) draft.sawSuggestion = true;
    add(current.suggestion ? `model: ${current.suggestion}` : "model: nothing yet", current.suggestion);
  }
  $("marks").replaceChildren(...marks);
  for (const button of $("classes").children) button.classList.toggle("former", Number(button.dataset.key) === former?.rating);
}

function showState() {
  document.body.dataset.state = busy ? "saving" : current ? "ready" : view.state;
  if (current || busy) return;
  [$("subject").textContent, $("text").textContent] = view.notice || ["", ""];
}

function showProgress() {
  const progress = view.progress;
  const number = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));
  $("today").textContent = number(progress.today);
  $("total").textContent = number(progress.total);
  $("pace").textContent = progress.median_seconds === null ? "–" : `${progress.median_seconds} s`;
  $("left").textContent = number(progress.left);
  const places = [];
  if (back) places.push(`${back} back. → goes forward.`);
  if (progress.database && current) places.push(`${progress.database} ${number(progress.ready)} posts are ready.`);
  if (progress.to_delete) places.push("A flagged picture is being deleted.");
  $("place").textContent = places.join(" ");
}

function schedulePolling() {
  clearTimeout(polling);
  const lacking = view.upcoming.length < 3 || view.progress.database || view.progress.to_delete
    || view.upcoming[0]?.picture?.status === "pending";
  if (lacking) polling = setTimeout(async () => {
    try {
      const turn = turns;
      const answer = busy ? null : await request("view");
      if (answer && turn === turns) accept(answer);
      if (!unsaved && $("message").className === "error") tell("");
    } catch (error) { tell(error.message, "error"); }
    schedulePolling();
  }, retryMs);
}

function tell(text, kind = "") {
  $("message").textContent = text;
  $("message").className = kind;
}

// What keys do

// One thing at a time; what is pressed meanwhile has its turn after it.
async function during(work) {
  busy = true;
  turns += 1;
  showState();
  const late = setTimeout(() => tell(saving), lateMs);
  try { await work(); }
  finally {
    clearTimeout(late);
    if ($("message").textContent === saving) tell("");
    busy = false;
    showState();
  }
  while (!busy && waiting.length) press(waiting.shift());
}

function fail(what, error) {
  waiting.length = 0;
  if (error.view) {
    back = 0;
    past = [];
    accept(error.view);
  }
  tell(`${what}: ${error.message}`, "error");
}

function decide(rating, flag = draft?.flag || null, notes = draft?.notes || null) {
  if (current) during(() => save(rating, flag, notes));
}

async function save(rating, flag, notes) {
  const looked = performance.now() - shownAt;
  const what = { thread_id: current.thread_id, rating, flag, notes, saw_suggestion: draft.sawSuggestion,
                 image_visible: draft.sawPicture };
  // The same decision after a failure is the same label, should the first have been written after all.
  const again = unsaved && Object.keys(what).every((name) => unsaved[name] === what[name]);
  const body = { ...(again ? unsaved : {
    ...what, seconds: Math.round(looked) / 1000, labeled_at: new Date(Date.now() + clockOffset).toISOString(),
  }), keys: view.progress.keys };
  const button = document.querySelector(`#classes [data-key="${rating}"]`);
  button?.classList.add("pressed");
  if (flag === "illegal") { images.delete(current.thread_id); current.picture = { status: "hidden" }; showPicture(); }
  try {
    const answer = await request("labels", body);
    unsaved = null;
    const decided = { ...current, former: { rating, flag, notes } };
    if (back) past[back - 1] = decided;
    else past = [decided, ...past.filter((post) => post.thread_id !== decided.thread_id)];
    if (back) { back -= 1; if (back) show(past[back - 1]); }
    accept(answer);
    afterLabel(rating, looked, answer.progress.streak);
  } catch (error) {
    unsaved = error instanceof Refused ? null : body;
    fail("Not saved", error);
  } finally { button?.classList.remove("pressed"); }
}

function afterLabel(rating, looked, streak) {
  if (rating && looked < hastyMs) tell("That was quick. u takes it back.", "hint");
  else if (rating && streak && streak.length >= sitting.streak_warning)
    tell(`${streak.length} times ${classes[streak.rating]} in a row. Still reading?`, "hint");
  else tell("");
}

function undo() {
  during(async () => {
    try {
      const answer = await request("undo", { keys: view.progress.keys });
      back = 0;
      past = [];
      current = null;
      accept(answer);
      tell(answer.undone ? `Taken back: No. ${answer.undone}.` : "There is nothing to take back.");
    } catch (error) { fail("Not taken back", error); }
  });
}

function lookBack() {
  const stepBack = () => {
    if (back >= past.length) { tell("That was the first."); return; }
    back += 1;
    show(past[back - 1]);
    showProgress();
  };
  if (back < past.length && past[back].picture?.status !== "pending") { stepBack(); return; }
  during(async () => {
    try {
      const answer = await request(`history?before=${back}`);
      past = [...past.slice(0, back), ...answer.posts];
      stepBack();
    } catch (error) { fail("Not read", error); }
  });
}

function lookForward() {
  if (!back) return;
  back -= 1;
  show(back ? past[back - 1] : view.upcoming[0] || null);
  showProgress();
}

const behind = () => document.querySelectorAll("header, main, nav");

function open(id) {
  sheet = id;
  focused = document.activeElement;
  $(id).hidden = false;
  for (const part of behind()) part.inert = true;  // Tab stays in the sheet
  tellScrolling();
}

function close() {
  if (sheet) $(sheet).hidden = true;
  if (sheet === "noting") $("note").blur();
  for (const part of behind()) part.inert = false;
  if (sheet && focused?.matches("button")) focused.focus();
  sheet = answers = focused = null;
}

// What scrolls in a sheet says so, and in which direction there is more.
function tellScrolling() {
  for (const box of document.querySelectorAll(".sheet:not([hidden]) .scrolls")) {
    const right = box.scrollWidth - box.clientWidth - box.scrollLeft > 2;
    const below = box.scrollHeight - box.clientHeight - box.scrollTop > 2;
    const wide = box.scrollWidth > box.clientWidth + 2, high = box.scrollHeight > box.clientHeight + 2;
    box.nextElementSibling.textContent = right && below ? "Scrolls: more below ↓ and to the right →"
      : below ? "Scrolls: more below ↓" : right ? "Scrolls: more to the right →"
      : wide || high ? "The end. Scroll back for the rest." : "";
  }
}

// The part of a sheet that keys scroll: the innermost one that can.
function scrollable() {
  const boxes = [...document.querySelectorAll(`#${sheet} .scrolls`)];
  return boxes.reverse().find((box) => box.scrollHeight > box.clientHeight + 2 || box.scrollWidth > box.clientWidth + 2);
}

// `choices` has for each key what it means and what it does.
function ask(question, choices) {
  const rows = [...Object.entries(choices).map(([key, choice]) => [key, choice.text]), ["Esc", "leave it"]];
  $("question").textContent = question;
  $("answers").replaceChildren(...rows.map(([key, text]) => {
    const row = document.createElement("li");
    const button = document.createElement("button");
    const cap = document.createElement("kbd");
    button.type = "button";
    button.dataset.key = key === "Esc" ? "Escape" : key;
    cap.textContent = key;
    button.append(cap, ` ${text}`);
    row.append(button);
    return row;
  }));
  answers = choices;
  open("ask");
}

function askForFlag() {
  const toggle = (flag) => () => { draft.flag = draft.flag === flag ? null : flag; showMarks(); };
  ask("Flag this post", {
    i: { text: "irony", then: toggle("irony") },
    c: { text: "not crypto", then: toggle("not crypto") },
    u: { text: "unreadable", then: toggle("unreadable") },
    x: { text: "illegal: deletes the picture at once, keeps its hash, skips the post", then: () => decide(null, "illegal") },
  });
}

function askForReason() {
  const because = (reason) => () => decide(null, draft.flag, [`skip: ${reason}`, draft.notes].filter(Boolean).join("; "));
  const just = () => decide(null);
  ask("Skip: why?", {
    c: { text: "cannot tell", then: because("cannot tell") },
    p: { text: "picture is missing", then: because("picture is missing") },
    o: { text: "not crypto", then: () => decide(null, "not crypto") },
    r: { text: "unreadable", then: () => decide(null, "unreadable") },
    s: { text: "just skip", then: just },
  });
}

function note() {
  $("note").value = draft.notes || "";
  open("noting");
  $("note").focus();
}

async function showStrata() {
  open("strata");
  $("summary").textContent = "";
  $("rows").replaceChildren();
  try {
    const { strata } = await request("strata");
    const progress = view.progress;
    $("summary").textContent = `${progress.session} in this sitting (${sitting.session}), ${progress.today} today, `
      + `${progress.total} in all by ${sitting.labeller}.`;
    $("rows").replaceChildren(...strata.map((row) => {
      const done = row.done[0] + row.done[1] + row.done[2];
      const line = document.createElement("tr");
      const cells = [row.month, row.source, row.posts.toLocaleString("en"), `${done} / ${row.target}`, ...row.done];
      cells.forEach((text, place) => {
        const cell = document.createElement("td");
        cell.textContent = text;
        if (place > 1) cell.className = "number";
        line.append(cell);
      });
      const bar = document.createElement("progress");
      bar.max = Math.max(1, row.target);
      bar.value = Math.min(done, row.target);
      line.append(document.createElement("td"));
      line.lastChild.append(bar);
      return line;
    }));
  } catch (error) { $("summary").textContent = error.message; }
  tellScrolling();
}

function toggleText() {
  draft.text = isMasked();
  showMask();
}

function togglePicture() {
  if (current.picture?.status !== "stored") return;
  draft.picture = isBlurred();
  showPicture();
}

const keys = {
  1: () => decide(1), 2: () => decide(2), 3: () => decide(3), 0: () => decide(null), s: askForReason, u: undo,
  ArrowLeft: lookBack, ArrowRight: lookForward, n: note, f: askForFlag, b: togglePicture,
  B: () => { showAll.picture = !showAll.picture; if (current?.picture) showPicture(); },
  t: toggleText,
  T: () => { showAll.text = !showAll.text; if (draft) { draft.text = null; showMask(); } },
  m: () => { showAll.suggestion = !showAll.suggestion; showMarks(); },
  p: showStrata, "?": () => open("help"),
  ArrowUp: () => scroll(-80), ArrowDown: () => scroll(80), " ": () => scroll($("words").clientHeight * 0.85),
};
// How far a key scrolls a sheet: to the right, and down.
const steps = {
  ArrowUp: () => [0, -80], ArrowDown: () => [0, 80], ArrowLeft: () => [-80, 0], ArrowRight: () => [80, 0],
  PageUp: (box) => [0, -box.clientHeight * 0.85], PageDown: (box) => [0, box.clientHeight * 0.85],
  Home: (box) => [0, -box.scrollHeight], End: (box) => [0, box.scrollHeight], " ": (box) => [0, box.clientHeight * 0.85],
};
const needsPost = new Set([..."1230snfbtTm"].map((key) => keys[key]));

function scroll(by) {
  $("words").scrollTop += by;
}

const scrolling = new Set(["ArrowUp", "ArrowDown", " "]);
const named = new Set(["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Enter", "Escape"]);

// With Caps Lock a letter comes as a capital.
const meant = (choices, key) => choices[key] || choices[key.toLowerCase()];

function press(key) {
  if (busy) {
    const counts = key.length === 1 || named.has(key);
    if (counts && waiting.length < mostWaiting) waiting.push(key);
    return counts;
  }
  if (sheet === "noting") {
    if (key === "Enter") { draft.notes = $("note").value.trim() || null; showMarks(); close(); }
    else if (key === "Escape") close();
    else if (key.length === 1) $("note").value += key;  // typed while a save was under way
    return true;
  }
  if (sheet) {
    const moves = steps[key], box = moves && scrollable();
    if (box) { box.scrollBy(...moves(box)); return true; }
    const choice = answers && meant(answers, key);
    if (key === "Escape" || !answers || choice) close();
    choice?.then();
    return true;
  }
  const does = meant(keys, key);
  if (sitting && does && (current || !needsPost.has(does))) does();
  return Boolean(does);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab" || event.key === "Shift") return;
  const typing = sheet === "noting" && !busy && event.key !== "Enter" && event.key !== "Escape";
  if (typing) return;
  // The focused button is what Space and Enter press; the click that follows does the rest.
  if (event.target.closest?.("button") && (event.key === " " || event.key === "Enter")) {
    if (event.repeat) event.preventDefault();
    return;
  }
  if (event.repeat && (busy || !scrolling.has(event.key))) { event.preventDefault(); return; }
  if (press(event.key)) event.preventDefault();
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-key]");
  if (button) {
    if (event.detail) button.blur();  // a mouse pressed it: Space scrolls again; a keyboard keeps its place
    press(button.dataset.key);
  }
  else if (event.target.classList.contains("sheet")) close();
});

document.addEventListener("scroll", tellScrolling, true);
window.addEventListener("resize", tellScrolling);

async function start() {
  try {
    sitting = await request("sitting");
    showAll.suggestion = sitting.suggestions;
    accept(await request("view"));
    tell("? shows all keys");
  } catch (error) {
    tell(error.message, "error");
    setTimeout(start, 3000);
  }
}

start();
