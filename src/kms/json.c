/*
 * json.c
 *	  The only user of jansson.
 *
 * jansson leaves copies of every string in freed memory, so while a document
 * is read its allocator is one that wipes.  The allocator is jansson's global
 * state and may be somebody else's in a server that loaded other modules: it
 * is put back before returning, when nothing allocated under ours is left.
 *
 * jansson's own error text quotes the document, so only its line number is
 * ever shown.  json_object() is never called (see json.h).
 */
#include "kms/json.h"

#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "core/secret.h"

static void
wiping_free(void *p)
{
	if (p == NULL)
		return;
	evc_wipe(p, malloc_usable_size(p));
	free(p);
}

/* Looked at before jansson, which recurses, sees the text. */
static bool
nested_deeper(const char *text, size_t len, size_t limit)
{
	bool		in_string = false;
	size_t		depth = 0;

	for (size_t i = 0; i < len; i++)
	{
		if (in_string && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			in_string = !in_string;
		else if (!in_string && (text[i] == '{' || text[i] == '['))
		{
			if (++depth > limit)
				return true;
		}
		else if (!in_string && (text[i] == '}' || text[i] == ']') && depth > 0)
			depth--;
	}
	return false;
}

static evc_code
load_failed(json_error_t *jerr, evc_err *err)
{
	switch (json_error_code(jerr))
	{
		case json_error_out_of_memory:
			return evc_fail(err, EVC_NO_MEMORY, "out of memory");
		case json_error_duplicate_key:
			return evc_fail(err, EVC_FILE_FORMAT,
							"a name appears twice in one object, at line %d",
							jerr->line);
		default:
			return evc_fail(err, EVC_FILE_FORMAT, "not valid JSON at line %d",
							jerr->line);
	}
}

evc_code
evc_json_read(const char *text, size_t len, const evc_json_limits *limits,
			  evc_json_reader reader, void *arg, evc_err *err)
{
	json_malloc_t old_malloc;
	json_free_t old_free;
	json_error_t jerr;
	json_t	   *root;
	evc_code	code;

	if (len > limits->bytes)
		return evc_fail(err, EVC_FILE_FORMAT, "longer than %zu bytes",
						limits->bytes);
	if (nested_deeper(text, len, limits->depth))
		return evc_fail(err, EVC_FILE_FORMAT, "nested more than %zu levels deep",
						limits->depth);

	json_get_alloc_funcs(&old_malloc, &old_free);
	json_set_alloc_funcs(malloc, wiping_free);
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &jerr);
	code = root == NULL ? load_failed(&jerr, err) : reader(root, arg, err);
	json_decref(root);
	json_set_alloc_funcs(old_malloc, old_free);

	evc_wipe(&jerr, sizeof(jerr));
	return code;
}

static bool
is_kind(const json_t *value, evc_json_kind kind)
{
	switch (kind)
	{
		case EVC_JSON_STRING:
			return json_is_string(value);
		case EVC_JSON_INTEGER:
			return json_is_integer(value);
		case EVC_JSON_BOOLEAN:
			return json_is_boolean(value);
		case EVC_JSON_ARRAY:
			return json_is_array(value);
		case EVC_JSON_OBJECT:
			return json_is_object(value);
	}
	return false;
}

static const char *
kind_name(evc_json_kind kind)
{
	static const char *const names[] = {
		[EVC_JSON_STRING] = "a string",
		[EVC_JSON_INTEGER] = "an integer",
		[EVC_JSON_BOOLEAN] = "true or false",
		[EVC_JSON_ARRAY] = "an array",
		[EVC_JSON_OBJECT] = "an object"
	};

	return names[kind];
}

static size_t
field_index(const evc_json_field *fields, size_t nfields, const char *name)
{
	size_t		i = 0;

	while (i < nfields && strcmp(fields[i].name, name) != 0)
		i++;
	return i;
}

evc_code
evc_json_members(const evc_json *object, const char *what,
				 const evc_json_field *fields, size_t nfields,
				 const evc_json **values, evc_err *err)
{
	const char *name;
	json_t	   *value;

	if (!json_is_object(object))
		return evc_fail(err, EVC_FILE_FORMAT, "%s is not an object", what);
	for (size_t i = 0; i < nfields; i++)
		values[i] = NULL;

	json_object_foreach((json_t *) object, name, value)
	{
		size_t		i = field_index(fields, nfields, name);

		if (i == nfields)
			return evc_fail(err, EVC_FILE_FORMAT,
							"%s has a member that this release does not know", what);
		if (json_is_null(value) && !fields[i].required)
			continue;
		if (!is_kind(value, fields[i].kind))
			return evc_fail(err, EVC_FILE_FORMAT, "\"%s\" of %s is not %s",
							fields[i].name, what, kind_name(fields[i].kind));
		values[i] = value;
	}

	for (size_t i = 0; i < nfields; i++)
	{
		if (fields[i].required && values[i] == NULL)
			return evc_fail(err, EVC_FILE_FORMAT, "%s has no \"%s\"",
							what, fields[i].name);
	}
	return EVC_OK;
}

evc_code
evc_json_each(const evc_json *object, evc_json_visitor visitor, void *arg,
			  evc_err *err)
{
	const char *name;
	json_t	   *value;

	json_object_foreach((json_t *) object, name, value)
	{
		evc_code	code = visitor(name, value, arg, err);

		if (code != EVC_OK)
			return code;
	}
	return EVC_OK;
}

evc_code
evc_json_elements(const evc_json *array, const char *what, evc_json_kind kind,
				  evc_json_reader visitor, void *arg, evc_err *err)
{
	size_t		i;
	json_t	   *value;

	json_array_foreach((json_t *) array, i, value)
	{
		evc_code	code = is_kind(value, kind) ? visitor(value, arg, err) :
			evc_fail(err, EVC_FILE_FORMAT, "an element of %s is not %s", what,
					 kind_name(kind));

		if (code != EVC_OK)
			return code;
	}
	return EVC_OK;
}

size_t
evc_json_size(const evc_json *object)
{
	return json_object_size(object);
}

const char *
evc_json_string(const evc_json *value)
{
	return json_string_value(value);
}

long long
evc_json_integer(const evc_json *value)
{
	return json_integer_value(value);
}
