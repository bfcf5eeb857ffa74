;; Takes one page of memory after the other, and traps when it gets no more.
(module
  (func (export "callHandle") (param i32 i32) (result i64)
    (loop $more
      (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    unreachable))
