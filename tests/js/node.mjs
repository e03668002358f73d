// node node.mjs FOLDER < jobs.json: runs the models in a folder in Node, and prints the answers as JSON.
import { readFileSync } from "node:fs";

import * as transformers from "@huggingface/transformers";

import { answers } from "./answers.mjs";

transformers.env.localModelPath = process.argv[2];
console.log(JSON.stringify(await answers(transformers, JSON.parse(readFileSync(0, "utf8")))));
