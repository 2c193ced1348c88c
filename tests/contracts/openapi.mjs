// Checks an OpenAPI document by the package `@seriousme/openapi-schema-validator`. Arguments: the folder of the packages,
// and the document.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, path] = process.argv.slice(2);
const entry = createRequire(`${folder}/`).resolve("@seriousme/openapi-schema-validator");
const { Validator } = await import(pathToFileURL(entry));
const validator = new Validator();
const { valid, errors } = await validator.validate(path);
console.log(valid ? `ok ${validator.version}` : JSON.stringify(errors, null, 2));
process.exitCode = valid ? 0 : 1;
