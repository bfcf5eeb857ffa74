/* Runs the SQL on its standard input on the database that its argument names, and prints what comes out. Built with
 * SQLite's sqlite3.c and sqlite3.h from anywhere: python -m ziglang cc -target wasm32-wasi -O2 -s -DSQLITE_THREADSAFE=0
 * -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_OMIT_WAL -I FOLDER sql.c FOLDER/sqlite3.c -o sql.wasm
 */
#include <stdio.h>
#include "sqlite3.h"

static int show(void *unused, int count, char **values, char **names) {
    for (int n = 0; n < count; n++) printf("%s%s", values[n] ? values[n] : "", n + 1 < count ? "|" : "\n");
    return 0;
}

int main(int argc, char **argv) {
    static char text[1 << 20];
    char *problem = NULL;
    sqlite3 *db;
    text[fread(text, 1, sizeof text - 1, stdin)] = 0;
    if (sqlite3_open(argv[1], &db) || sqlite3_exec(db, text, show, NULL, &problem)) {
        fprintf(stderr, "%s\n", problem ? problem : sqlite3_errmsg(db));
        return 1;
    }
    return sqlite3_close(db);
}
