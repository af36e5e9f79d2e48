// Validates each FILE against SCHEMA with ajv; prints {"file": [places of the errors]}.
"use strict";
const fs = require("fs");
const Ajv = require("ajv/dist/2020");

const [schema, ...files] = process.argv.slice(2);
const validate = new Ajv({ allErrors: true, allowUnionTypes: true })
  .compile(JSON.parse(fs.readFileSync(schema, "utf8")));
const verdicts = {};
for (const file of files)
  verdicts[file] = validate(JSON.parse(fs.readFileSync(file, "utf8"))) ? []
    : validate.errors.map((error) => `${error.instancePath || "/"} ${error.message}`);
console.log(JSON.stringify(verdicts));
