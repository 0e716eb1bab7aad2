#!/usr/bin/env node
// node-postgres: named (prepared) statements, values in text and in binary.
const { MIB, eq, ok, raises, recipe, run } = require('./tap');
const { Client, Pool } = require('pg');
const { randomUUID } = require('crypto');
const { UPSERT, FIND, ADD_NOTE, READ_NOTE, registerEncBytea } = recipe('with_pg');

const INSERT = `INSERT INTO customer (email, phone) VALUES (encrypt(lower($1), 'lookup'), encrypt($2, 'pii'))
                RETURNING id, decrypt(email) AS email, phone`;

async function crud(how, binary) {
  const client = new Client({ user: 'app', binary });
  await client.connect();
  const query = async (q, ...values) => (await client.query(typeof q === 'string' ? { text: q, values } : { ...q, values })).rows;

  await query('DELETE FROM customer');
  const [{ id, email, phone }] = await query(INSERT, 'Ann@Example.org', '+44 1');
  eq(email, 'ann@example.org', `${how}: INSERT RETURNING opens`);
  if (!binary) ok(phone.startsWith('\\x'), `${how}: a sealed value comes as '\\x..'`);
  ok(Buffer.isBuffer((await query('SELECT phone::bytea AS b FROM customer'))[0].b), `${how}: and, cast, as a Buffer`);
  eq(await query(FIND, 'ANN@example.org'), [{ id, email, phone: '+44 1' }], `${how}: look-up by e-mail`);
  eq(await query(UPSERT, email, '+44 2'), [{ id, phone: '+44 2' }], `${how}: upsert updates`);
  eq((await query(UPSERT, 'bob@example.org', null))[0].phone, null, `${how}: upsert inserts, NULL`);
  const error = await raises('23505', query(INSERT, 'ANN@EXAMPLE.ORG', 'x'), `${how}: unique violation`);
  eq([error.constructor.name, error.constraint], ['DatabaseError', 'customer_email_key'], `${how}: as a DatabaseError`);
  for (const [value, name] of [['', 'empty string'], [MIB, '1 MiB']]) {
    eq(await query("UPDATE customer SET phone = encrypt($1, 'pii') WHERE id = $2 RETURNING decrypt(phone) AS phone", value, id),
      [{ phone: value }], `${how}: ${name}, RETURNING`);
    eq((await query(FIND, email))[0].phone, value, `${how}: ${name}, read`);
  }
  for (let n = 0; n < 12; n++) await query(UPSERT, `n${n}@example.org`, String(n));
  const found = [];
  for (let n = 0; n < 12; n++) found.push((await query(FIND, `n${n}@example.org`))[0].phone);
  eq(found, [...Array(12).keys()].map(String), `${how}: a named statement 12 times`);
  eq((await query("SELECT name, generic_plans + custom_plans >= 12 AS often FROM pg_prepared_statements ORDER BY name")).slice(0, 2),
    [{ name: 'find', often: true }, { name: 'upsert', often: true }], `${how}: which the server prepared`);

  const note = randomUUID();
  await query(ADD_NOTE, note, 'call back');
  eq(await query(READ_NOTE, note), [{ body: 'call back' }], `${how}: a bound value`);

  if (!binary) {
    await registerEncBytea(client);
    const [{ terms }] = await query("SELECT search_terms($1, 'lookup') AS terms", email);
    ok(Array.isArray(terms) && terms.length === 1, `${how}: search_terms as an array`);
    eq(await query('SELECT id FROM customer WHERE email = ANY ($1::enc_bytea[])', terms), [{ id }], `${how}: sent back`);
    eq((await query('SELECT array_agg(email) AS a FROM customer WHERE id = $1', id))[0].a, terms, `${how}: enc_bytea[]`);
    eq(await query('SELECT ARRAY[NULL]::enc_bytea[] AS a'), [{ a: [null] }], `${how}: with a NULL`);
    eq(await query('SELECT decrypt($1) AS v', terms[0]), [{ v: email }], `${how}: a sealed value sent back`);
    await raises('22P03', query('INSERT INTO customer (email) VALUES ($1)', 'plain@example.org'), `${how}: plain text is refused`);
  }
  eq((await client.query("DELETE FROM customer WHERE email = ANY (search_terms($1, 'lookup'))", [email])).rowCount, 1, `${how}: delete`);
  eq(await query(FIND, email), [], `${how}: and gone`);
  await client.end();
}

run(async () => {
  await crud('text', false);
  await crud('binary', true);
  const pool = new Pool({ user: 'app', max: 3 });
  const all = await Promise.all([...Array(30).keys()].map((n) => pool.query({ ...UPSERT, values: ['one@example.org', String(n)] })));
  eq(new Set(all.map((r) => r.rows[0].id)).size, 1, 'thirty upserts of one e-mail through a pool');
  await pool.end();
});
