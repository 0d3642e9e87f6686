// Bundles the page into ../built: npm ci && npm run build. What it writes is checked in.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "built");
const lock = JSON.parse(readFileSync(join(here, "package-lock.json"), "utf8")).packages;
const version = (name) => `${name} ${lock[`node_modules/${name}`].version}`;

const result = await build({
  absWorkingDir: here,
  entryPoints: { page: "main.js" },
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2021",
  charset: "ascii",
  legalComments: "none",
  metafile: true,
  write: false,
  outdir: "built",
});
const style = await build({
  absWorkingDir: here,
  entryPoints: { page: "style.css" },
  bundle: true,
  minify: true,
  charset: "ascii",
  write: false,
  outdir: "built",
});

// The packages of which something is in the bundle, each with its licence.
const inside = Object.values(result.metafile.outputs).flatMap((file) =>
  Object.entries(file.inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([path]) => path),
);
const packages = [...new Set(inside.map((path) => path.match(/^node_modules\/((@[^/]+\/)?[^/]+)/)?.[1]).filter(Boolean))].sort();
const licences = packages.map((name) => `${version(name)}\n\n${readFileSync(join(here, "node_modules", name, "LICENSE"), "utf8").trim()}`);

// The sources that it was built from, so that a test sees when one was changed and the bundle was not.
const sources = readdirSync(here).filter((name) => /\.(js|css)$/.test(name) || name === "package-lock.json").sort();
const digest = createHash("sha256");
for (const name of sources) digest.update(`${name}\n`).update(readFileSync(join(here, name)));

const banner = `Built by ${version("esbuild")} from sources ${digest.digest("hex").slice(0, 16)}.\nInside: ${packages.map(version).join(", ")}.`;
const text = (comment, file) => `/*\n${comment}\n*/\n${file.outputFiles[0].text.trim()}\n`;
mkdirSync(out, { recursive: true });
writeFileSync(join(out, "page.js"), text([banner, ...licences].join("\n\n").replaceAll("*/", "* /"), result));
writeFileSync(join(out, "page.css"), text(`${banner.split("\n")[0]}\nInside: ${version("uplot")}, MIT licence, see page.js.`, style));
console.log(`${banner}\n${result.outputFiles[0].text.length} + ${style.outputFiles[0].text.length} characters`);
