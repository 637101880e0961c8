// The page: a view of the job and one of each frame. Text from the results is only ever set as text.
const byId = (id) => document.getElementById(id);
const job = JSON.parse(byId("data").textContent);
const frames = Object.keys(job.list).length ? job.list.frame.map((_, i) =>
  Object.fromEntries(Object.entries(job.list).map(([name, column]) => [name, column[i]]))) : [];
const positions = new Map(frames.map((frame, i) => [frame.frame, i]));
const dark = matchMedia("(prefers-color-scheme: dark)");

function element(tag, content, attributes = {}) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  for (const child of [].concat(content ?? [])) made.append(child);
  return made;
}

// --- numbers, as the program prints them

const digits = (n) => (value) => value === null ? "–" : value.toFixed(n);
const significant = (n) => (value) => value === null ? "–" : String(Number(value.toPrecision(n)));
const percent = (value) => value === null ? "–" : `${(100 * value).toFixed(1)} %`;
const superscript = (number) => String(number).replace(/./g, (char) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(char)]);
const power = (exponent) => `2${superscript(exponent)}`;
const psnr = (frame) => frame.status === "done" && frame.psnr_db === null ? "∞" : digits(3)(frame.psnr_db);
const size = (frame) => frame.width === null ? "–" : `${frame.width}×${frame.height}`;

function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function facts(list, entries) {
  list.replaceChildren(...entries.map(([name, value]) => element("div", [element("dt", name), element("dd", value)])));
}

function table(target, head, rows) {
  const cells = (tag, row) => element("tr", row.map((value, i) => element(tag, value, i ? {} : {class: "text"})));
  target.replaceChildren(element("thead", cells("th", head)), element("tbody", rows.map((row) => cells("td", row))));
}

// --- refinement

const lowered = (share) => `${(-100 * share).toFixed(2)} %`;
const count = (number) => String(Math.round(number));

function tellRefined(section, target, head, rows) {
  section.hidden = !rows.length;
  table(target, head, rows);
}

// --- figures

function looks() {
  const style = getComputedStyle(document.documentElement);
  const [ink, soft, line] = ["--ink", "--soft", "--line"].map((name) => style.getPropertyValue(name).trim());
  const text = {labelColor: ink, titleColor: ink, labelFont: "system-ui, sans-serif", titleFont: "system-ui, sans-serif"};
  return {
    background: null,
    view: {stroke: null},
    axis: {...text, gridColor: line, domainColor: soft, tickColor: soft, titleFontWeight: "normal"},
    legend: {...text, titleFontWeight: "normal"},
    header: text,
  };
}

async function draw(figure, name, data) {
  const spec = structuredClone(job.figures[name]);
  spec.datasets = data;
  const room = figure.clientWidth || 320;
  if (name === "loss") {
    const columns = new Set(data.pairs.map((pair) => pair.bias)).size;
    spec.width = {step: Math.max(6, Math.min(20, Math.floor((room - 70) / columns)))};
  } else if (spec.spec) {
    spec.spec.width = Math.min(room, 480) - 40;  // beside its axis
  } else {
    spec.width = Math.min(room, 620);
    spec.autosize = {type: "fit-x", contains: "padding"};
    spec.padding = {left: 5, top: 5, bottom: 5, right: 16};  // half of the last label
    if (spec.height.step) spec.height = spec.height.step * Object.values(data)[0].length;  // a bar for each
  }
  const place = element("div");  // what is still being drawn of an earlier call goes with its place
  figure.replaceChildren(place);
  const options = {renderer: "svg", actions: false, config: looks(), tooltip: {theme: dark.matches ? "dark" : "light"}};
  await vegaEmbed(place, spec, options);
}

const drawAll = (figures) => Promise.all(figures.map(([figure, name, data]) => draw(figure, name, data)));

// --- the job

const columns = [
  ["frame", "frame", (frame) => frame.frame, true],
  ["status", "status", (frame) => frame.status, true],
  ["size", "width", size],
  ["λ", "lmbda", (frame) => frame.lmbda === null ? "–" : significant(6)(frame.lmbda)],
  ["bpp", "bpp", (frame) => digits(4)(frame.bpp)],
  ["PSNR [dB]", "psnr_db", psnr],
  ["networks", "networks", (frame) => percent(frame.networks)],
  ["loss", "loss", (frame) => significant(6)(frame.loss)],
  ["file [bytes]", "file_bytes", (frame) => frame.file_bytes === null ? "–" : String(frame.file_bytes)],
  ["replica time", "seconds", (frame) => duration(frame.seconds)],
].filter(([, key]) => key !== "file_bytes" || frames.some((frame) => frame.file_bytes !== null));
const PAGE = 200;
let sorting = {key: null, descending: false};
let shown = PAGE;

function matching() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = frames.filter((frame) => {
    const text = `${frame.frame} ${frame.status} ${frame.error ?? ""} ${frame.path}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  if (sorting.key) {
    const sign = sorting.descending ? -1 : 1;
    const order = (a, b) => typeof a === "string" ? a.localeCompare(b, undefined, {numeric: true}) : a - b;
    found.sort((one, other) => {
      const [a, b] = [one[sorting.key], other[sorting.key]];
      return a === null || b === null ? (a === null) - (b === null) : sign * order(a, b);  // nothing comes last
    });
  }
  return found;
}

function link(frame) {
  return element("a", frame, {href: `#frame=${encodeURIComponent(frame)}`});
}

function listFrames() {
  const found = matching();
  byId("found").textContent = found.length === frames.length ? `${frames.length} frames` : `${found.length} of ${frames.length} frames`;
  byId("list").tBodies[0].replaceChildren(...found.slice(0, shown).map((frame) => {
    if (frame.status !== "failed") {
      return element("tr", columns.map(([, key, text, left]) =>
        element("td", key === "frame" ? link(frame.frame) : text(frame), left ? {class: "text"} : {})));
    }
    return element("tr", [
      element("td", link(frame.frame), {class: "text"}),
      element("td", `failed: ${frame.error}`, {class: "text reason failed", colspan: columns.length - 1}),
    ]);
  }));
  byId("more").hidden = found.length <= shown;
  for (const head of byId("list").tHead.rows[0].cells) {
    const sorted = head.dataset.key === sorting.key;
    head.setAttribute("aria-sort", sorted ? (sorting.descending ? "descending" : "ascending") : "none");
  }
}

function sortBy(key) {
  sorting = {key, descending: sorting.key === key && !sorting.descending};
  listFrames();
}

function jobHeader() {
  const left = job.frames - job.done - job.failed;
  const state = [`${job.out}`, `as of ${job.written.replace("T", " ").replace("+00:00", " UTC")}`];
  if (left) state.push(job.running ? `running, ${left} frames have not ended` : `${left} frames have not ended; the same command resumes the job`);
  byId("state").textContent = state.join(" · ");
  const failed = frames.filter((frame) => frame.status === "failed");
  byId("failures").hidden = !failed.length;
  byId("failures-title").textContent = `${job.failed} failed`;
  const items = failed.slice(0, 10).map((frame) => element("li", [link(frame.frame), `: ${frame.error}`]));
  if (job.failed > items.length) items.push(element("li", `and ${job.failed - items.length} more: they are first in the list below`));
  byId("failures").querySelector("ul").replaceChildren(...items);
  const {means} = job;
  const entries = [["done", `${job.done} of ${job.frames}`]];
  if (job.done) {
    entries.push(["mean bits per pixel", digits(4)(means.bpp)], ["mean PSNR", means.psnr_db === null ? "∞" : `${digits(3)(means.psnr_db)} dB`], ["networks, of all bits", percent(means.networks)]);
    if (means.file_bpp !== null) entries.push(["files, mean bits per pixel", digits(4)(means.file_bpp)]);
    entries.push(["replica time a frame", duration(means.seconds)]);
  }
  facts(byId("summary"), entries);
  byId("edges").replaceChildren(...job.edges.map(({parameters, edge, step, frames: n}) =>
    element("p", `${n} of ${job.done} frames chose the ${edge} step of the grid, ${power(step)}, for ${parameters}: one beyond it may be better still.`, {class: "warning"})));
  if (job.done + job.failed > frames.length) byId("unlisted").textContent = `${frames.length} of ${job.done + job.failed} frames are listed, those that failed first; all of them are in frames.parquet.`;
  byId("configuration").textContent = job.configuration;
  byId("list").tHead.rows[0].replaceChildren(...columns.map(([name, key, , left]) => {
    const button = element("button", name, {type: "button"});
    button.addEventListener("click", () => sortBy(key));
    return element("th", button, {scope: "col", "data-key": key, ...(left ? {class: "text"} : {})});
  }));
  const busy = job.available_seconds ? job.busy_seconds / job.available_seconds : null;
  byId("utilisation").textContent = `Replicas were at work ${duration(job.busy_seconds)} of the ${duration(job.available_seconds)} that they were there: ${percent(busy)}.`;
  table(byId("replicas"), ["replica", "run", "calls", "lost", "there", "busy"], job.replicas.map((replica) =>
    [replica.replica, String(replica.run + 1), String(replica.calls), String(replica.lost), duration(replica.seconds), percent(replica.share)]));
}

async function showJob() {
  listFrames();
  tellRefined(byId("refined"), byId("refined-table"),
    ["network", "frames", "loss", "other steps", "coarser weights", "moves measured", "estimated", "made", "time"],
    job.refined.map((row) => [row.network, count(row.frames), lowered(row.share), count(row.other), count(row.coarser), count(row.moves_measured), count(row.moves_screened), count(row.moves_accepted), duration(row.seconds)]));
  const {chosen, points, stages, spans} = job.data;
  byId("chosen").hidden = !chosen.length;
  byId("curves").hidden = !points.length;
  byId("time").hidden = !stages.length;
  const histogram = chosen.map((row) => ({...row, step: power(row.exponent)}));
  const all = {steps: {chosen: histogram}, counts: {chosen: histogram}, curves: {points}, stages: {stages}, utilisation: {spans}};
  const figures = [...byId("job-view").querySelectorAll("[data-figure]")].map((figure) => [figure, figure.dataset.figure, all[figure.dataset.figure]]);
  await drawAll(figures.filter(([, , data]) => Object.values(data)[0].length));
}

// --- a frame

const loaded = new Map();
for (const script of document.querySelectorAll("script.details")) loaded.set(script.dataset.frame, script);
window.qsweepDetails = (details) => loaded.set(details.frame, details);

async function detailsOf(frame) {
  if (frame.details === null) return null;
  if (!loaded.has(frame.frame)) {
    await new Promise((resolve, reject) => {
      const script = element("script", [], {src: frame.details});
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(new Error(`What was measured of this frame is in a file beside this page, ${decodeURIComponent(frame.details)}, which cannot be read.`)));
      document.head.append(script);
    });
  }
  const found = loaded.get(frame.frame);
  return found instanceof HTMLElement ? JSON.parse(found.textContent) : found;
}

const records = (columns) => columns.weight.map((_, i) =>
  Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, column[i]])));

function pairsTable(pairs) {
  const details = element("details", element("summary", "All pairs as a table"));
  details.addEventListener("toggle", () => {
    if (details.querySelector("table")) return;
    const made = element("table");
    const head = ["weight step", "bias step", "status", "loss", "above the best", "bpp", "PSNR [dB]", "this network [bit]", "Pareto front"];
    table(made, head, pairs.map((pair) => [
      power(pair.weight), power(pair.bias), pair.mark ?? pair.status,
      pair.loss !== null ? significant(8)(pair.loss) : pair.bound !== null ? `at least ${significant(8)(pair.bound)}` : "–",
      pair.excess === null ? "–" : `${(100 * pair.excess).toFixed(4)} %`,
      digits(5)(pair.bpp), digits(4)(pair.psnr_db), pair.nn_bit === null ? "–" : String(pair.nn_bit), pair.front ? "yes" : "",
    ]));
    details.append(element("div", made, {class: "scroll", tabindex: "0", role: "region", "aria-label": "All pairs"}));
  });
  return details;
}

function showPictures(pictures, frame) {
  const captions = {
    original: "original",
    decoded: "reconstruction",
    error: pictures && `error; white is ${significant(3)(255 * pictures.white)} of 255 or more`,
  };
  const small = frame.width * frame.height <= 65536 ? {class: "small"} : {};
  byId("pictures").replaceChildren(...Object.entries(captions).filter(([name]) => pictures?.[name]).map(([name, caption]) =>
    element("figure", [element("img", [], {src: pictures[name], alt: `${caption} of ${frame.frame}`, ...small}), element("figcaption", caption, {class: "note"})])));
}

function showModule(name, {pairs: columns, winner}) {
  const pairs = records(columns);
  const [map, front] = [element("figure"), element("figure")];
  const measured = pairs.some((pair) => pair.psnr_db !== null);
  const parts = [element("h3", name)];
  if ("loss" in winner) parts.push(element("p", `${power(winner.weight)} for weights (count ${winner.expgol_cnt_weight}, ${winner.rate_weight_bit} bits), ${power(winner.bias)} for biases (count ${winner.expgol_cnt_bias}, ${winner.rate_bias_bit} bits); loss ${significant(8)(winner.loss)}`, {class: "winner"}));
  parts.push(...winner.warnings.map((text) => element("p", text, {class: "warning"})));
  parts.push(element("div", [
    element("div", [element("p", "Loss of every pair; point at a cell for exact values.", {class: "note"}), map]),
    ...(measured ? [element("div", [element("p", "Rate and distortion of every pair: squares are the Pareto front, the ring is what was chosen.", {class: "note"}), front])] : []),
  ], {class: "columns"}), pairsTable(pairs));
  return {section: element("section", parts, {"data-module": name}), figures: [[map, "loss", {pairs}], ...(measured ? [[front, "rate-distortion", {pairs}]] : [])]};
}

let current = null;

async function showFrame(id) {
  const frame = frames[positions.get(id)];
  current = id;
  byId("frame-title").textContent = frame.frame;
  byId("frame-error").hidden = frame.error === null;
  byId("frame-error").textContent = frame.error === null ? "" : `failed: ${frame.error}`;
  const entries = [["size", size(frame)], ["λ", significant(6)(frame.lmbda)]];
  if (frame.status === "done") {
    entries.push(["loss", significant(6)(frame.loss)], ["PSNR", `${psnr(frame)} dB`], ["bits per pixel", digits(4)(frame.bpp)], ["networks, of all bits", percent(frame.networks)]);
    if (frame.file_bytes !== null) entries.push(["file", `${frame.file_bytes} bytes`]);
  }
  entries.push(["replica time", duration(frame.seconds)], ["from", frame.path]);
  facts(byId("frame-facts"), entries);
  const [notes, modules] = [byId("frame-notes"), byId("modules")];
  for (const part of [notes, modules, byId("pictures")]) part.replaceChildren();
  byId("bits").hidden = byId("frame-refined").hidden = true;
  let details;
  try {
    details = await detailsOf(frame);
  } catch (error) {
    details = {modules: {}, parts: [], notes: [error.message]};
  }
  if (current !== id) return;  // another one has been asked for meanwhile
  if (!details || !(Object.keys(details.modules).length || details.notes.length)) {
    const why = frame.status === "failed" ? "Nothing was measured of this frame." : "Only the first frames of a job have details here; all of them are in rd_table.";
    notes.replaceChildren(element("p", why, {class: "note"}));
    if (!details) return;
  }
  notes.append(...details.notes.map((text) => element("p", text, {class: "note"})));
  showPictures(details.pictures, frame);
  const made = Object.entries(details.modules).map(([name, module]) => showModule(name, module));
  modules.replaceChildren(...made.map(({section}) => section));
  const steps = (exponents) => exponents.map(power).join(", ");
  tellRefined(byId("frame-refined"), byId("frame-refined-table"),
    ["network", "steps of the sweep", "steps now", "bits of the sweep", "bits now", "loss", "trials", "moves measured", "estimated", "made", "time"],
    (details.refined ?? []).map((row) => [row.network, steps(row.before), steps(row.after), count(row.bits_before), count(row.bits_after), lowered(row.share), count(row.trials), count(row.moves_measured), count(row.moves_screened), count(row.moves_accepted), duration(row.seconds)]));
  byId("bits").hidden = !details.parts.length;
  const figures = made.flatMap(({figures: of}) => of);
  if (details.parts.length) figures.push([byId("bits").querySelector("figure"), "bits", {parts: details.parts}]);
  await drawAll(figures);
}

// --- which of them

async function route(focus = true) {
  const wanted = /^#frame=(.*)$/.exec(location.hash);
  let id = null;
  try {
    id = wanted && decodeURIComponent(wanted[1]);
  } catch { /* no frame has such a name */ }
  if (!positions.has(id)) id = null;
  document.body.dataset.ready = "";
  byId("job-view").hidden = id !== null;
  byId("frame-view").hidden = id === null;
  byId("to-job").toggleAttribute("aria-current", id === null);
  byId("picker").value = id ?? "";
  const position = id === null ? -1 : positions.get(id);
  byId("previous").disabled = position <= 0;
  byId("next").disabled = position === frames.length - 1;
  current = id;
  await (id === null ? showJob() : showFrame(id));
  if (focus) byId(id === null ? "title" : "frame-title").focus({preventScroll: id === null});
  document.body.dataset.ready = id ?? "job";  // for whoever waits for it, such as tests
}

function go(step) {
  const position = current === null ? -1 : positions.get(current);
  location.hash = `frame=${encodeURIComponent(frames[position + step].frame)}`;
}

jobHeader();
byId("picker").replaceChildren(element("option", "choose …", {value: ""}), ...frames.map((frame) => element("option", frame.frame, {value: frame.frame})));
byId("picker").addEventListener("change", ({target}) => { location.hash = target.value ? `frame=${encodeURIComponent(target.value)}` : "job"; });
byId("previous").addEventListener("click", () => go(-1));
byId("next").addEventListener("click", () => go(1));
byId("search").addEventListener("input", () => { shown = PAGE; listFrames(); });
byId("more").addEventListener("click", () => { shown += PAGE; listFrames(); });
addEventListener("hashchange", () => route());
dark.addEventListener("change", () => route(false));
let width = innerWidth, resized = null;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  clearTimeout(resized);
  resized = setTimeout(route, 100, false);
});
route(false);
