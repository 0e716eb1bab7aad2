/*
 * keycache.c
 *	  This backend's versions, checked and ready to seal and open.
 *
 * Three questions stand between a value and its cipher: does the version
 * exist and in which state, may this role use its key, and what are its
 * working keys.  The answers are kept until a change of the key tables, of
 * roles, of memberships or of the database's owner reaches this backend as an invalidation message.
 * Each call accepts such messages first, so that a grant taken back in another
 * session holds for the very next value, in open transactions and loops too;
 * with none pending that costs a few nanoseconds.
 *
 * A message may also arrive while a version is being read and prepared, which
 * opens tables.  Then nothing is freed under the reader's feet: the cache is
 * marked stale and dropped at the next call; this one counts as having come
 * before the change.  Between the return of envcrypt_cache_for_*() and the
 * cipher call nothing can arrive.
 *
 * A change of roles has privileges looked up again; a change of keys wipes the
 * working keys, as soon as its message arrives outside such work, and so does
 * exit.  They are never in a caller's memory context.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "envcrypt.h"
#include "keycache.h"
#include "keyxact.h"
#include "localkeys.h"

/* Versions kept before all are dropped: bounds a backend's memory. */
#define MAX_CACHED 4096

struct CachedKey
{
	char		name[EVC_NAME_MAX + 1]; /* hash key, first */
	KeyRow		row;
	Oid			role;			/* whose privileges these are, or InvalidOid */
	uint8		privileges;
	CachedVersion *primary;		/* NULL until asked for */
};

static MemoryContext cache_context;
static HTAB *keys;
static HTAB *versions;

/* The last of each, which is nearly always the next one too. */
static CachedVersion *last_sealed;
static CachedVersion *last_opened;

static bool acquiring;			/* a reader is on the stack */
static bool stale;				/* and what it reads may have changed */

static void
drop_cache(void)
{
	HASH_SEQ_STATUS seq;
	CachedVersion *v;

	last_sealed = last_opened = NULL;
	stale = false;
	if (versions == NULL)
		return;
	hash_seq_init(&seq, versions);
	while ((v = hash_seq_search(&seq)) != NULL)
		if (v->prepared)
			evc_version_clear(&v->version);
	versions = keys = NULL;
	MemoryContextReset(cache_context);
}

static void
invalidate(void)
{
	if (acquiring)
		stale = true;
	else
		drop_cache();
}

static void
on_relation_change(Datum arg, Oid relid)
{
	if (versions != NULL && (relid == InvalidOid || envcrypt_is_key_table(relid)))
		invalidate();
}

static void
on_role_change(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS seq;
	CachedKey  *key;

	if (versions == NULL)
		return;
	if (acquiring)
	{
		stale = true;
		return;
	}
	hash_seq_init(&seq, keys);
	while ((key = hash_seq_search(&seq)) != NULL)
		key->role = InvalidOid;
}

static void
at_exit(int code, Datum arg)
{
	drop_cache();
}

static HTAB *
make_table(const char *name, Size keysize, Size entrysize, int flags)
{
	HASHCTL		ctl = {.keysize = keysize,.entrysize = entrysize,.hcxt = cache_context};

	return hash_create(name, 16, &ctl, HASH_ELEM | HASH_CONTEXT | flags);
}

/*
 * The caches themselves, made anew after each drop.  The callbacks are for
 * the life of the process.
 */
static void
make_cache(void)
{
	if (versions != NULL && hash_get_num_entries(versions) >= MAX_CACHED)
		drop_cache();
	if (versions != NULL)
		return;
	if (cache_context == NULL)
	{
		/* first what can fail: callbacks are registered once */
		cache_context = AllocSetContextCreate(TopMemoryContext, "envcrypt key cache",
											  ALLOCSET_DEFAULT_SIZES);
		CacheRegisterRelcacheCallback(on_relation_change, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, on_role_change, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, on_role_change, (Datum) 0);
		/* whose owner is the member of pg_database_owner */
		CacheRegisterSyscacheCallback(DATABASEOID, on_role_change, (Datum) 0);
		on_proc_exit(at_exit, (Datum) 0);
	}
	keys = make_table("envcrypt keys", EVC_NAME_MAX + 1, sizeof(CachedKey), HASH_STRINGS);
	versions = make_table("envcrypt versions", EVC_KVID_BYTES, sizeof(CachedVersion), HASH_BLOBS);
}

static CachedKey *
cached_key(const char *name)
{
	CachedKey  *key = hash_search(keys, name, HASH_FIND, NULL);
	KeyRow		row;

	if (key != NULL)
		return key;
	if (!envcrypt_read_key(name, &row))
		return NULL;
	key = hash_search(keys, name, HASH_ENTER, NULL);
	key->row = row;
	key->role = InvalidOid;
	key->primary = NULL;
	return key;
}

/* NULL when the kvid is unknown, or its key is. */
static CachedVersion *
cached_version(const uint8 *kvid)
{
	CachedVersion *v = hash_search(versions, kvid, HASH_FIND, NULL);
	VersionRow	row;
	CachedKey  *key;

	if (v != NULL)
		return v;
	if (!envcrypt_read_version(kvid, &row) || (key = cached_key(row.key)) == NULL)
		return NULL;
	v = hash_search(versions, kvid, HASH_ENTER, NULL);
	v->key = key;
	v->row = row;
	v->prepared = false;
	return v;
}

static void
require_privilege(CachedKey *key, uint8 wanted)
{
	Oid			role = GetUserId();

	if (key->role != role)
	{
		key->privileges = envcrypt_read_privileges(&key->row, role);
		key->role = role;
	}
	if ((key->privileges & wanted) == 0)
		envcrypt_throw_denied(key->name, wanted);
}

/* Keys of a newer release can be stored, granted and dumped, not used. */
static void
require_known_algorithm(const CachedVersion *v)
{
	if (evc_algorithm_seals(v->row.algorithm) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("key \"%s\" needs a newer envcrypt", v->key->name),
				 errquiet()));
}

static void
require_enabled(const CachedKey *key)
{
	if (key->row.enabled)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("key \"%s\" is disabled", key->name),
			 errhint("Somebody who manages the key can enable it: SELECT envcrypt.enable_key('%s').", key->name),
			 errquiet()));
}

static void
require_state(const CachedVersion *v, bool sealing)
{
	VersionState state = v->row.state;

	if (sealing ? state == VERSION_PRIMARY : state <= VERSION_DECRYPT_ONLY)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("version %d of key \"%s\" is %s", v->row.number, v->key->name,
					envcrypt_state_name(state)),
			 errquiet()));
}

/* Open one wrap; anything but local root keys belongs to a later release. */
static evc_code
unwrap(const CachedVersion *v, const WrapRow *w, evc_key *secret, evc_err *err)
{
	evc_binding b = evc_binding_of(v->row.algorithm, v->kvid, v->key->row.label);
	evc_keyfile *kf;
	evc_code	rc = envcrypt_local_open(&kf, err);

	if (rc != EVC_OK)
		return rc;
	rc = evc_local_secret(kf, w->root_key, &b, (const uint8 *) VARDATA_ANY(w->wrapped),
						  VARSIZE_ANY_EXHDR(w->wrapped), v->row.commitment, secret, err);
	evc_keyfile_free(kf);
	return rc;
}

/*
 * Working keys from the first wrap that opens.  The secret is on this stack
 * frame alone, and nothing that could raise runs while it is.
 */
static void
prepare(CachedVersion *v)
{
	evc_err		err = {EVC_NO_ROOT_KEY, 0, "it has no wrap"};
	evc_code	rc = EVC_NO_ROOT_KEY;
	evc_key		secret;
	List	   *wraps;
	ListCell   *lc;

	if (v->prepared)
		return;
	wraps = envcrypt_read_wraps(v->kvid);
	foreach(lc, wraps)
	{
		rc = unwrap(v, lfirst(lc), &secret, &err);
		if (rc == EVC_OK)
			rc = evc_version_init(&v->version, v->row.algorithm, v->kvid, &secret, &err);
		evc_wipe(&secret, sizeof(secret));
		if (rc == EVC_OK)
			break;
	}
	if (rc != EVC_OK)
		envcrypt_throw_unavailable(v->key->name, &err);
	v->prepared = true;
}

/* What is asked for, and what the search for it found. */
typedef struct Request
{
	const char *name;			/* a key, for its primary version */
	evc_bytes	plaintext;		/* to be sealed with it */
	const uint8 *kvid;			/* or a version */
	uint8		suite;			/* that must be openable, or 0 */
	uint8		privilege;
	bool		sealing;
	bool		may_miss;		/* what try_decrypt() forgives is NULL */
} Request;

/*
 * With the arguments swapped the value stands where the key should.  It can
 * look like a key's name, as an e-mail address does, and must not be shown.
 */
void
envcrypt_refuse_unknown_key(const char *name, evc_bytes plaintext)
{
	KeyRow		row;

	if (envcrypt_find_key((const char *) plaintext.data, plaintext.len, &row))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("key does not exist, and the value is the name of one"),
				 errhint("The value comes first: encrypt(value, key)."),
				 errquiet()));
	envcrypt_throw_unknown_key(name, strlen(name));
}

static CachedVersion *
find_primary(const char *name, evc_bytes plaintext)
{
	CachedKey  *key = cached_key(name);
	ListCell   *lc;

	if (key == NULL)
		envcrypt_refuse_unknown_key(name, plaintext);
	if (key->primary == NULL)
	{
		foreach(lc, envcrypt_read_versions(name))
		{
			VersionRow *row = lfirst(lc);

			if (row->state != VERSION_PRIMARY)
				continue;
			key->primary = cached_version(row->kvid);
			break;
		}
	}
	if (key->primary == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("key \"%s\" has no primary version", name),
				 errquiet()));
	return key->primary;
}

static CachedVersion *
find(const Request *r)
{
	CachedVersion *v;

	if (r->name != NULL)
		return find_primary(r->name, r->plaintext);
	v = cached_version(r->kvid);
	if (v == NULL && !r->may_miss)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("value is sealed with a key this database does not have"),
				 errhint("The key's rows must be restored or imported from the database that sealed the value."),
				 errquiet()));
	return v;
}

/* In the order in which docs/sql-reference.md says errors are found. */
static CachedVersion *
find_and_check(const Request *r)
{
	CachedVersion *v = find(r);

	if (v == NULL)
		return NULL;
	require_privilege(v->key, r->privilege);
	require_known_algorithm(v);
	if (r->suite != 0 && !evc_algorithm_opens(v->row.algorithm, r->suite))
	{
		evc_err		err = {EVC_WRONG_SUITE, 0, ""};

		if (r->may_miss)
			return NULL;
		envcrypt_throw(&err);
	}
	if (r->may_miss && v->row.state == VERSION_DESTROYED)
		return NULL;
	require_enabled(v->key);
	require_state(v, r->sealing);
	/* a search term is a sealed value, and can be kept like one */
	if (r->privilege != KEY_PRIV_DECRYPT)
		envcrypt_require_committed(v->row.origin, v->key->name);
	prepare(v);
	return v;
}

/* The slow path: look it up, check it, prepare it. */
static CachedVersion *
acquire(const Request *r)
{
	CachedVersion *volatile v = NULL;

	make_cache();
	acquiring = true;
	PG_TRY();
	{
		v = find_and_check(r);
	}
	PG_FINALLY();
	{
		acquiring = false;
	}
	PG_END_TRY();
	return v;
}

/* Hear of changes, and forget what they may have touched. */
static inline void
catch_up(void)
{
	AcceptInvalidationMessages();
	if (stale)
		drop_cache();
}

/* Whether an earlier answer still stands for this role. */
static inline bool
still_good(const CachedVersion *v, uint8 privilege)
{
	return v->key->role == GetUserId() && (v->key->privileges & privilege) != 0;
}

CachedVersion *
envcrypt_cache_for_seal(const char *key, size_t keylen, evc_bytes plaintext)
{
	char		name[EVC_NAME_MAX + 1];
	Request		r = {.name = name,.plaintext = plaintext,.privilege = KEY_PRIV_ENCRYPT,.sealing = true};

	catch_up();
	if (last_sealed != NULL &&
		strncmp(last_sealed->key->name, key, keylen) == 0 &&
		last_sealed->key->name[keylen] == '\0' &&
		last_sealed->row.origin == ROW_COMMITTED &&
		still_good(last_sealed, KEY_PRIV_ENCRYPT))
		return last_sealed;
	if (!evc_name_valid(key, keylen))
		envcrypt_throw_unknown_key(key, keylen);
	memcpy(name, key, keylen);
	name[keylen] = '\0';
	return last_sealed = acquire(&r);
}

CachedVersion *
envcrypt_cache_for_open(const evc_envelope *env, bool may_miss)
{
	Request		r = {.kvid = env->kvid,.suite = env->suite,.privilege = KEY_PRIV_DECRYPT,.may_miss = may_miss};
	CachedVersion *v;

	catch_up();
	v = last_opened;
	if (v == NULL || memcmp(v->kvid, env->kvid, EVC_KVID_BYTES) != 0)
		v = versions == NULL ? NULL : hash_search(versions, env->kvid, HASH_FIND, NULL);
	/* what is prepared was in a state that opens, or it would be gone */
	if (v == NULL || !v->prepared || !still_good(v, KEY_PRIV_DECRYPT) ||
		!evc_algorithm_opens(v->row.algorithm, env->suite))
		v = acquire(&r);
	if (v != NULL)
		last_opened = v;
	return v;
}

CachedVersion *
envcrypt_cache_for_search(const uint8 *kvid)
{
	Request		r = {.kvid = kvid,.privilege = KEY_PRIV_SEARCH};

	catch_up();
	return acquire(&r);
}
