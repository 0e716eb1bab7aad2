// What the JavaScript tests share: TAP, and the database each program has to itself.
const assert = require('assert');
const path = require('path');

process.env.PGDATABASE = path.basename(process.argv[1]).split('.')[0];

let count = 0;
const ok = (passed, name) => console.log(`${passed ? 'ok' : 'not ok'} ${++count} - ${name}`);
const short = (value) => JSON.stringify(value)?.slice(0, 300);

exports.MIB = '0123456789abcdef'.repeat(65536);
exports.recipe = (name) => require(path.join(process.env.ENVCRYPT_RECIPES, name));
exports.ok = ok;
exports.eq = (got, want, name) => {
  let same = true;
  try { assert.deepStrictEqual(got, want); } catch { same = false; }
  ok(same, name);
  if (!same) console.log(`# got  ${short(got)}\n# want ${short(want)}`);
};
exports.raises = async (code, promise, name) => {
  const error = await promise.then(() => undefined, (e) => e);
  ok(error && error.code === code, `${name}${error && error.code === code ? '' : `: ${error}`}`);
  return error;
};
exports.run = (main) => main().then(() => console.log(`1..${count}`), (e) => { console.error(e); process.exit(1); });
