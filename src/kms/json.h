/*
 * json.h
 *	  Reading JSON that others wrote, by declared tables of members.
 *
 * json.c is the only file that includes jansson.h: PostgreSQL and jansson both
 * declare json_object(), and inside a server the name is PostgreSQL's.
 */
#ifndef EVC_JSON_H
#define EVC_JSON_H

#include "core/evc.h"

/* A value of the document; lives only while the reader below runs. */
typedef struct json_t evc_json;

typedef enum evc_json_kind
{
	EVC_JSON_STRING,
	EVC_JSON_INTEGER,
	EVC_JSON_BOOLEAN,
	EVC_JSON_ARRAY,
	EVC_JSON_OBJECT
} evc_json_kind;

typedef struct evc_json_field
{
	const char *name;
	evc_json_kind kind;
	bool		required;
} evc_json_field;

typedef struct evc_json_limits
{
	size_t		bytes;
	size_t		depth;			/* objects and arrays inside each other */
} evc_json_limits;

/*
 * Called with the whole document, by evc_json_elements with each element, and
 * by evc_json_each with each member.
 */
typedef evc_code (*evc_json_reader) (const evc_json *value, void *arg, evc_err *err);
typedef evc_code (*evc_json_visitor) (const char *name, const evc_json *value,
									  void *arg, evc_err *err);

/*
 * Parse the text and hand the document to the reader.  Everything jansson
 * allocated is wiped and freed before this returns.  EVC_FILE_FORMAT for text
 * that is not JSON, has a member twice, or is beyond a limit.
 */
EVC_MUST_USE extern evc_code evc_json_read(const char *text, size_t len,
										   const evc_json_limits *limits,
										   evc_json_reader reader, void *arg,
										   evc_err *err);

/*
 * Fill values[i] with the member fields[i], NULL when it is optional and
 * absent or null.  Refuses members that are not in the table, of another kind, or
 * required and absent.  "what" names the object in messages.
 */
EVC_MUST_USE extern evc_code evc_json_members(const evc_json *object, const char *what,
											  const evc_json_field *fields, size_t nfields,
											  const evc_json **values, evc_err *err);

/* Visit the members of an object used as a map, until one visit fails. */
EVC_MUST_USE extern evc_code evc_json_each(const evc_json *object,
										   evc_json_visitor visitor, void *arg,
										   evc_err *err);

/* Visit the elements of an array, all of which must be of the kind. */
EVC_MUST_USE extern evc_code evc_json_elements(const evc_json *array, const char *what,
											   evc_json_kind kind,
											   evc_json_reader visitor, void *arg,
											   evc_err *err);

/* Number of members of an object. */
extern size_t evc_json_size(const evc_json *object);

/* The NUL-terminated text of a string; it holds no other NUL. */
extern const char *evc_json_string(const evc_json *value);

extern long long evc_json_integer(const evc_json *value);

#endif							/* EVC_JSON_H */
