/* loop_forever: computes without end and never calls the host. Only a time limit (or fuel) stops it. */
int main(void) {
    for (volatile unsigned turns = 0;; turns++) {
    }
}
