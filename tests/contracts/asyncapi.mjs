// Checks an AsyncAPI document by the package `@asyncapi/parser`. Arguments: the folder of the packages, and the document.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [folder, path] = process.argv.slice(2);
const { Parser } = createRequire(`${folder}/`)("@asyncapi/parser");
const { document, diagnostics } = await new Parser().parse(readFileSync(path, "utf8"));
// Hints for publishers of documents: a contact and an `id` are optional.
const OPTIONAL = ["asyncapi-id", "asyncapi-info-contact", "asyncapi-info-contact-properties", "asyncapi3-tags"];
const found = diagnostics.filter(({ code }) => !OPTIONAL.includes(code));
for (const { code, message, path } of found) console.log(`${code}: ${message} at ${path.join("/")}`);
if (document && !found.length) console.log(`ok ${document.allMessages().length} messages`);
process.exitCode = document && !found.length ? 0 : 1;
