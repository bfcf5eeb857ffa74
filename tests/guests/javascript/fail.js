// The line of the error is the third.
function giveUp() {
  throw new Error("no luck");
}
giveUp();
