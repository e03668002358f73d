// Answers of Transformers.js, the same in Node and in a browser.

/**
 * Run pipelines.
 * @param {object} transformers The module @huggingface/transformers.
 * @param {{task: string, model: string, dtype: string, calls: any[][]}[]} jobs Each with the arguments of its calls.
 * @returns {Promise<any[][]>} The answers of each job; tensors as {dims, data}.
 */
export async function answers({ env, pipeline }, jobs) {
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  const found = [];
  for (const { task, model, dtype, calls } of jobs) {
    const run = await pipeline(task, model, { dtype });
    const outputs = [];
    for (const call of calls) outputs.push(plain(await run(...call)));
    await run.dispose();
    found.push(outputs);
  }
  return found;
}

function plain(value) {
  return value?.dims ? { dims: value.dims, data: Array.from(value.data) } : value;
}
