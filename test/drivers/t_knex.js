#!/usr/bin/env node
// knex over node-postgres.
const { MIB, eq, ok, raises, recipe, run } = require('./tap');
const knex = require('knex')({ client: 'pg', connection: { user: 'app', database: process.env.PGDATABASE, host: process.env.PGHOST } });

run(async () => {
  const { seal, open, is } = recipe('with_knex')(knex);
  const { createTable, upsert, find } = recipe('customers_knex')(knex);
  const sent = [];
  knex.on('query', (q) => sent.push(q));

  await createTable();
  const [{ id, email, phone }] = await upsert({ email: 'ann@example.org', phone: '+44 1' });
  eq([email, phone], ['ann@example.org', '+44 1'], 'create, RETURNING opens');
  eq(await find(email), { id, email, phone }, 'look-up by e-mail');
  ok(sent.every((q) => !q.sql.includes('ann@')), 'values are no part of the SQL text');
  eq(await upsert({ email, phone: '+44 2' }), [{ id, email, phone: '+44 2' }], 'upsert updates');
  eq((await upsert({ email: 'bob@example.org', phone: null }))[0].phone, null, 'NULL');
  for (const [value, name] of [['', 'empty string'], [MIB, '1 MiB']]) {
    eq(await knex('client').where({ id }).update({ phone: seal(value, 'pii') }).returning(open('client.phone')), [{ phone: value }], `update, ${name}`);
    eq((await find(email)).phone, value, `read, ${name}`);
  }
  await raises('23505', knex('client').insert({ email: seal(email, 'lookup') }).then(), 'unique violation');
  await knex('client').insert([...Array(100).keys()].map((n) => ({ email: seal(`n${n}@example.org`, 'lookup'), phone: seal(String(n), 'pii') })));
  for (let n = 0; n < 12; n++) {
    const row = await find(`n${n}@example.org`);
    if (row.phone !== String(n)) ok(false, `n${n}`);
  }
  ok(true, 'a look-up 12 times');
  eq((await knex('client').whereIn('id', knex('client').select('id').where(is('email', email, 'lookup'))).first('id')).id, id, 'in a subquery');
  await knex.transaction(async (trx) => {
    await raises('22P03', trx('client').insert({ email: 'plain@example.org' }).then(), 'plain text is refused');
    await trx.rollback();
  }).catch(() => {});
  eq(await knex('client').where(is('email', email, 'lookup')).del(), 1, 'delete');
  eq(await find(email), undefined, 'and gone');

  // the view
  const [view] = await knex('customer_open').insert({ email: 'View@example.org', phone: '1' }).returning(['id', 'email']);
  await knex('customer_open').where({ id: view.id }).update({ phone: '2' });
  eq(await knex('customer_open').whereRaw('id IN (SELECT * FROM customer_ids(?))', ['view@EXAMPLE.org']),
    [{ id: view.id, email: 'view@example.org', phone: '2' }], 'the view: insert, update, look-up');
  eq(await knex('customer_open').where({ id: view.id }).del(), 1, 'the view: delete');
  await knex.destroy();
});
