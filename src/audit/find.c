/*
 * The question to the files.  They are read one after the other and looked through for
 * the address; only lines that have it are parsed.  A file whose last record is older
 * than the time asked for is not looked at.
 */
#include "audit/audit.h"
#include "audit/files.h"
#include "audit/line.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The clock of the disk's times is the wall's, but for a step of it. */
#define SLACK_S   3600
#define PIECE     ((size_t)1024 * 1024)
#define PIECE_MAX ((size_t)16 * 1024 * 1024)

struct search {
	const struct audit_question *q;
	json_t *found;
	char needle[64];
	size_t needle_len;
};

/* Text of whole lines. */
static int search_text(const struct search *s, const char *text, size_t len)
{
	const char *end = text + len, *at = text;

	while ((at = memmem(at, (size_t)(end - at), s->needle, s->needle_len)) != NULL) {
		const char *head = memrchr(text, '\n', (size_t)(at - text));
		const char *tail = memchr(at, '\n', (size_t)(end - at));
		json_t *record;

		if (tail == NULL)
			break;
		head = head != NULL ? head + 1 : text;
		record = line_match(head, (size_t)(tail - head), s->q);
		if (record != NULL && json_array_append_new(s->found, record) != 0)
			return -ENOMEM;
		if (json_array_size(s->found) > AUDIT_FOUND_MAX)
			return ERR_NOSPACE;
		at = tail;
	}
	return 0;
}

/* A line may be longer than a piece: an SPI list of thousands. */
static int piece_reserve(struct line *piece)
{
	size_t size = piece->size > 0 ? piece->size * 2 : PIECE;
	char *at;

	if (piece->len < piece->size)
		return 0;
	at = size <= PIECE_MAX ? realloc(piece->at, size) : NULL;
	if (at == NULL)
		return -ENOMEM;
	piece->at = at;
	piece->size = size;
	return 0;
}

static int search_piece(const struct search *s, struct line *piece)
{
	const char *last = memrchr(piece->at, '\n', piece->len);
	size_t whole = last != NULL ? (size_t)(last - piece->at) + 1 : 0;
	int err = search_text(s, piece->at, whole);

	memmove(piece->at, piece->at + whole, piece->len - whole);
	piece->len -= whole;
	return err;
}

static int search_fd(const struct search *s, int fd, struct line *piece)
{
	struct stat st;
	ssize_t n = 1;
	int err = 0;

	if (fstat(fd, &st) != 0)
		return -errno;
	if ((uint64_t)(st.st_mtime + SLACK_S) < s->q->at_wall_ms / 1000)
		return 0;
	piece->len = 0;
	while (err == 0 && n > 0) {
		err = piece_reserve(piece);
		if (err != 0)
			break;
		n = read(fd, piece->at + piece->len, piece->size - piece->len);
		if (n < 0)
			return -errno;
		piece->len += (size_t)n;
		err = search_piece(s, piece);
	}
	return err;
}

int audit_find(const char *dir, const struct audit_question *q, json_t *found)
{
	struct search s = { .q = q, .found = found };
	struct line piece = { 0 };
	struct files files;
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

	if (dir_fd < 0)
		return -errno;
	s.needle_len = (size_t)line_needle(q->address, s.needle, sizeof(s.needle));
	err = files_list(dir_fd, &files);
	for (size_t i = 0; err == 0 && i < files.n; i++) {
		char name[FILES_NAME_MAX];
		int fd = openat(
			dir_fd, files_name(files.numbers[i], name), O_RDONLY | O_CLOEXEC);

		if (fd < 0 && errno == ENOENT)
			continue; /* its time has come meanwhile */
		err = fd >= 0 ? search_fd(&s, fd, &piece) : -errno;
		if (fd >= 0)
			(void)close(fd);
	}
	free(piece.at);
	files_fini(&files);
	(void)close(dir_fd);
	return err;
}
