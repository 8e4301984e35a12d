/* Reads tests/vectors.json for the tests of the codec and of the engine. */
#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *path, const char *what)
{
	(void)fprintf(stderr, "%s: %s\n", path, what);
	abort();
}

long long vector_int(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

const char *vector_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static uint8_t nibble(char c)
{
	const char digits[] = "0123456789abcdef";

	return (uint8_t)(strchr(digits, c) - digits);
}

/* Decodes hexadecimal to *at and moves it on. */
static const uint8_t *unhex(const char *hex, uint8_t **at, size_t *len)
{
	const uint8_t *start = *at;

	if (strspn(hex, "0123456789abcdef") != strlen(hex) || strlen(hex) % 2)
		die(hex, "not hexadecimal");
	for (; *hex; hex += 2)
		*(*at)++ = (uint8_t)(nibble(hex[0]) << 4 | nibble(hex[1]));
	*len = (size_t)(*at - start);
	return start;
}

static void fill(struct vector *v, const json_t *object, uint8_t **at)
{
	const json_t *expect = json_object_get(object, "expect");
	const char *response = vector_text(expect, "response_hex");

	v->name = vector_text(object, "name");
	v->kind = vector_text(object, "kind");
	v->side = !strcmp(vector_text(object, "direction"), "gateway->host")
			  ? SIDE_HOST
			  : SIDE_GATEWAY;
	v->udp = !strcmp(vector_text(object, "transport"), "udp");
	v->bytes = unhex(vector_text(object, "hex"), at, &v->len);
	v->fields = json_object_get(object, "fields");
	v->state = json_object_get(object, "state");
	v->action = vector_text(expect, "action");
	v->error = (uint16_t)vector_int(expect, "error");
	if (*response)
		v->response = unhex(response, at, &v->response_len);
}

void vectors_load(struct vectors *v, const char *path)
{
	json_error_t error;
	uint8_t *at;
	size_t room = 0;

	*v = (struct vectors){ .json = json_load_file(path, 0, &error) };
	if (!v->json)
		die(path, error.text);
	v->n = json_array_size(v->json);
	for (size_t i = 0; i < v->n; i++) {
		const json_t *object = json_array_get(v->json, i);

		room += strlen(vector_text(object, "hex")) +
			strlen(vector_text(
				json_object_get(object, "expect"), "response_hex"));
	}
	v->list = calloc(v->n, sizeof(*v->list));
	v->bytes = at = malloc(room);
	if (!v->n || !v->list || !at)
		die(path, "no vectors, or no memory for them");
	for (size_t i = 0; i < v->n; i++)
		fill(&v->list[i], json_array_get(v->json, i), &at);
}

void vectors_free(struct vectors *v)
{
	free(v->list);
	free(v->bytes);
	json_decref(v->json);
}
