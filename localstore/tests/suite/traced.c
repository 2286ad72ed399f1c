/* Reads files in the ways that a preloaded library or a look at shell words would not see. Its arguments: what to do. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *in_thread(void *name) {
    int directory = open("dir", O_PATH | O_DIRECTORY);
    char byte;
    int file = openat(directory, name, O_RDONLY);
    if (file < 0 || read(file, &byte, 1) != 1) exit(3);
    return NULL;
}

int main(int argc, char **argv) {
    struct stat status;
    pthread_t thread;
    if (argc > 1 && !strcmp(argv[1], "child")) return open("by-child", O_RDONLY) < 0;
    if (pthread_create(&thread, NULL, in_thread, "by-thread") || pthread_join(thread, NULL)) return 4;
    if (open("in", O_RDONLY) < 0) return 5;
    stat("by-stat", &status);
    pid_t child = vfork();
    if (child == 0) {
        execl("probe", "probe", "child", NULL);
        _exit(6);
    }
    int ended;
    if (waitpid(child, &ended, 0) != child || ended) return 7;
    /* A file of its own. */
    FILE *made = fopen("made", "w");
    fputs("1", made);
    fclose(made);
    if (open("made", O_RDONLY) < 0 || rename("made", "moved") || open("moved", O_RDONLY) < 0) return 8;
    unlink("moved");
    if (open("moved", O_RDONLY) >= 0) return 9;
    /* An input: the attempt counts, though it is refused. */
    open("in", O_RDWR);
    return 0;
}
