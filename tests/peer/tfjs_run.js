// Runs a converted graph model: node tfjs_run.js FOLDER
// The folder holds model.json with its weights, and given.json; results.json is added.

'use strict';

const fs = require('fs');
const path = require('path');
const tf = require('@tensorflow/tfjs');

async function main(folder) {
  const text = fs.readFileSync(path.join(folder, 'model.json'), 'utf8');
  const json = JSON.parse(text);
  const specs = [];
  const parts = [];
  for (const group of json.weightsManifest) {
    specs.push(...group.weights);
    for (const name of group.paths) {
      parts.push(fs.readFileSync(path.join(folder, name)));
    }
  }
  const bytes = Buffer.concat(parts);
  const model = await tf.loadGraphModel({
    load: async () => ({
      modelTopology: json.modelTopology,
      format: json.format,
      signature: json.signature,
      userDefinedMetadata: json.userDefinedMetadata,
      modelInitializer: json.modelInitializer,
      weightSpecs: specs,
      weightData: bytes.buffer.slice(
          bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
    }),
  });
  const given = JSON.parse(fs.readFileSync(path.join(folder, 'given.json')));
  const feed = {};
  for (const [key, info] of Object.entries(json.signature.inputs)) {
    // The converter calls some inputs after their tensor: `user:0`.
    const {data, shape, dtype} = given[key] ?? given[key.replace(/:\d+$/, '')];
    feed[info.name] = tf.tensor(data, shape, dtype === 'int32' ? 'int32' : 'float32');
  }
  const keys = Object.keys(json.signature.outputs);
  const names = keys.map((key) => json.signature.outputs[key].name);
  let results = await model.executeAsync(feed, names);
  results = Array.isArray(results) ? results : [results];
  const found = {};
  for (let i = 0; i < keys.length; i++) {
    found[keys[i]] = {
      shape: results[i].shape,
      data: Array.from(await results[i].data()),
    };
  }
  fs.writeFileSync(path.join(folder, 'results.json'), JSON.stringify(found));
}

main(process.argv[2]).catch((error) => {
  console.error(error.stack || String(error));
  process.exit(1);
});
