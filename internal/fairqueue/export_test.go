package fairqueue

// MaxIdle is for tests of what is remembered.
const MaxIdle = maxIdle

// Clients returns how many clients the window knows.
func (w *Window[T]) Clients() int { return len(w.clients) }
