/* rsip-kxd's configuration: any text is taken whole, or refused with a sentence. */
#include "fuzz.h"
#include "kxd/conf.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[4096], why[KXD_WHY] = "";
	struct kxd_conf *c = NULL;
	int err;

	if (size >= sizeof(text) || memchr(data, 0, size) != NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	/* libconfuse would read files and the environment. */
	if (strstr(text, "include") != NULL || strchr(text, '$') != NULL)
		return 0;
	err = kxd_conf_parse("f", text, &c, why, sizeof(why));
	MUST((err == 0) == (c != NULL));
	MUST(err == 0 || strncmp(why, "f", 1) == 0);
	MUST(err != 0 || (c->n_self > 0 && c->n_protect > 0 && c->key[0] != 0));
	kxd_conf_free(c);
	return 0;
}
