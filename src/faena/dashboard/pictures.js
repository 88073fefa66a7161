// What the media pack made, shown below its job.

export function mayShowPictures(job) {
  return job.topic === "media" && job.status === "completed" && job.result === undefined;
}

export function drawResult(job, place) {
  const pictures = job.status === "completed" ? picturesIn(job.result) : [];
  place.hidden = pictures.length === 0;
  if (pictures.length === 0 || place.dataset.shown === pictures[0]) return;
  place.dataset.shown = pictures[0];
  const image = Object.assign(document.createElement("img"), { src: pictures[0], alt: "The result", loading: "lazy" });
  const words = document.createElement("p");
  pictures.forEach((path, number) => {
    const link = Object.assign(document.createElement("a"), { href: path, textContent: path.split("/").pop() });
    words.append(number ? " · " : "", link);
  });
  const saved = job.result.optimized?.saved_percent ?? job.result.saved_percent;
  if (typeof saved === "number") words.append(` · ${saved} % smaller`);
  place.replaceChildren(image, words);
}

function picturesIn(result, depth = 0) {
  if (typeof result === "string") return /^\/media\/derived\/[^?#]+$/.test(result) ? [result] : [];
  if (result === null || typeof result !== "object" || depth > 2) return [];
  return Object.values(result).flatMap((value) => picturesIn(value, depth + 1));
}
