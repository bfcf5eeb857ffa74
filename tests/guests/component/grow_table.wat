;; Grows a table until it gets no more elements, and says whether it stayed small: below a million.
(component
  (core module $main
    (import "host" "memory" (memory 2))
    (import "host" "get-stdout" (func $stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (table $table 1 funcref)
    (data (i32.const 1024) "kept small")
    (func (export "run") (result i32)
      (loop $more
        (if (i32.lt_u (table.size $table) (i32.const 1000000))
          (then (br_if $more (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))
          (else (return (i32.const 1)))))
      (call $write (call $stdout) (i32.const 1024) (i32.const 10) (i32.const 16))
      (i32.const 0)))
)
