/* mandelbrot_tile: one tile of a picture of the Mandelbrot set, as raw RGB bytes, row by row.
 * Arguments (the picture, the same for every tile): WIDTH HEIGHT CENTRE_RE CENTRE_IM SPAN LIMIT
 *     its size in pixels, its centre, the part of the plane from its left to its right, the most iterations.
 * Input (the tile): the line "X Y WIDTH HEIGHT" in pixels, from the picture's upper left corner.
 *
 * A point's colour comes from how fast it escapes, without steps, and from the slope of that landscape under a low sun;
 * each pixel is the mean of SAMPLES x SAMPLES points. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAMPLES = 3 };

static const double PI = 3.14159265358979323846;
static const double ESCAPE_SQUARED = 1e6;

struct view {
    int width, height, limit;
    double centre_re, centre_im, span;
};

struct colour {
    double red, green, blue;
};

/* The gradient runs around: after the last colour comes the first again. In linear light. */
static const struct colour GRADIENT[] = {
    {0.004, 0.012, 0.060}, {0.010, 0.060, 0.240}, {0.050, 0.300, 0.600}, {0.550, 0.820, 0.880},
    {1.000, 0.930, 0.700}, {0.980, 0.520, 0.100}, {0.420, 0.080, 0.040}, {0.070, 0.010, 0.060},
};
enum { STOPS = sizeof GRADIENT / sizeof GRADIENT[0] };

static struct colour gradient_at(double position) {
    double scaled = (position - floor(position)) * STOPS;
    int stop = (int)scaled % STOPS;
    double share = scaled - floor(scaled);
    share = share * share * (3 - 2 * share);
    const struct colour *from = &GRADIENT[stop], *to = &GRADIENT[(stop + 1) % STOPS];
    return (struct colour){
        from->red + share * (to->red - from->red),
        from->green + share * (to->green - from->green),
        from->blue + share * (to->blue - from->blue),
    };
}

/* Tell whether a point lies in the main heart or the disc left of it, which never escape. */
static int lies_in_a_big_bulb(double re, double im) {
    double x = re - 0.25, im_squared = im * im, q = x * x + im_squared;
    return q * (q + x) <= 0.25 * im_squared || (re + 1) * (re + 1) + im_squared <= 0.0625;
}

static struct colour shade(double re, double im, int limit) {
    double x = 0, y = 0, dx = 0, dy = 0; /* z, and its derivative by c */
    int turns = 0;
    if (lies_in_a_big_bulb(re, im)) return (struct colour){0, 0, 0};
    while (x * x + y * y < ESCAPE_SQUARED) {
        if (turns++ == limit) return (struct colour){0, 0, 0};
        double next_dx = 2 * (x * dx - y * dy) + 1, next_x = x * x - y * y + re;
        dy = 2 * (x * dy + y * dx);
        dx = next_dx;
        y = 2 * x * y + im;
        x = next_x;
    }
    double smooth_turns = turns - log2(log(x * x + y * y) / log(ESCAPE_SQUARED));
    struct colour colour = gradient_at(0.42 * log(smooth_turns + 1) - 1.42);

    /* z divided by its derivative points up the slope; the sun stands in the upper left. */
    double size = dx * dx + dy * dy, up_x = (x * dx + y * dy) / size, up_y = (y * dx - x * dy) / size;
    double length = sqrt(up_x * up_x + up_y * up_y), height = 1.6;
    double light = (up_x * cos(0.75 * PI) + up_y * sin(0.75 * PI)) / length;
    light = (light + height) / (1 + height);
    light = 0.25 + 0.9 * (light < 0 ? 0 : light);
    return (struct colour){colour.red * light, colour.green * light, colour.blue * light};
}

static struct colour shade_pixel(const struct view *view, int column, int row) {
    struct colour sum = {0, 0, 0};
    double pixel = view->span / view->width;
    for (int i = 0; i < SAMPLES * SAMPLES; i++) {
        double x = column + (i % SAMPLES + 0.5) / SAMPLES, y = row + (i / SAMPLES + 0.5) / SAMPLES;
        struct colour point = shade(
            view->centre_re + (x - view->width / 2.0) * pixel, view->centre_im - (y - view->height / 2.0) * pixel,
            view->limit);
        sum.red += point.red / (SAMPLES * SAMPLES);
        sum.green += point.green / (SAMPLES * SAMPLES);
        sum.blue += point.blue / (SAMPLES * SAMPLES);
    }
    return sum;
}

/* Linear light to a byte of sRGB. */
static int to_byte(double light) {
    if (light >= 1) return 255;
    double value = light <= 0.0031308 ? 12.92 * light : 1.055 * pow(light, 1 / 2.4) - 0.055;
    return (int)(value * 255 + 0.5);
}

int main(int argc, char **argv) {
    int left, top, width, height;
    if (argc != 7 || scanf("%d %d %d %d", &left, &top, &width, &height) != 4 || width < 1 || height < 1) {
        fputs("arguments: WIDTH HEIGHT CENTRE_RE CENTRE_IM SPAN LIMIT; input: X Y WIDTH HEIGHT\n", stderr);
        return 2;
    }
    const struct view view = {
        .width = atoi(argv[1]), .height = atoi(argv[2]), .limit = atoi(argv[6]),
        .centre_re = atof(argv[3]), .centre_im = atof(argv[4]), .span = atof(argv[5]),
    };
    for (int row = top; row < top + height; row++)
        for (int column = left; column < left + width; column++) {
            struct colour colour = shade_pixel(&view, column, row);
            putchar(to_byte(colour.red));
            putchar(to_byte(colour.green));
            putchar(to_byte(colour.blue));
        }
    return fflush(stdout);
}
