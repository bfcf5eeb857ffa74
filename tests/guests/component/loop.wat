;; Computes without end.
(component
  (core module $main
    (func (export "run") (result i32)
      (loop $again (br $again))
      unreachable))
)
