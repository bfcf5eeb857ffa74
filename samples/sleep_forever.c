/* sleep_forever: sleeps without end inside the host. A limit that only stops running code never sees it. */
#include <time.h>

int main(void) {
    const struct timespec hour = {.tv_sec = 3600};
    for (;;) nanosleep(&hour, NULL);
}
