//! The hand: takes one way to write a digit and writes it with all the play that hands have.

use super::strokes::{Point, STYLES};
use super::{Dice, SIDE};

/// How far a point of a stroke wanders, in the digit's own units.
const WANDER: f32 = 0.08;

/// Straight pieces for each curve from one point to the next.
const PIECES: usize = 5;

/// A straight piece of a stroke, in pixels.
pub(super) struct Segment {
    pub from: Point,
    pub to: Point,
    /// Half the pen's width.
    pub radius: f32,
}

/// A digit on the paper.
pub(super) struct Written {
    pub segments: Vec<Segment>,
    /// Width of the pen's soft edge in pixels.
    pub softness: f32,
}

/// Writes a digit somewhere about the middle of the paper.
pub(super) fn write(digit: u8, dice: &mut Dice) -> Written {
    let styles = STYLES[usize::from(digit)];
    let style = styles[dice.below(styles.len())];
    let form = Form::new(dice);
    let mut lines: Vec<Vec<Point>> = style
        .iter()
        .map(|stroke| curve(&wandered(stroke, dice)).into_iter().map(|point| form.apply(point)).collect())
        .collect();
    centre(&mut lines, dice);
    let radius = dice.between(0.65, 1.5);
    let mut segments = Vec::new();
    for line in &lines {
        // The pressure changes evenly along a stroke.
        let (first, last) = (radius * dice.between(0.8, 1.2), radius * dice.between(0.8, 1.2));
        for (i, pair) in line.windows(2).enumerate() {
            let along = i as f32 / line.len() as f32;
            segments.push(Segment { from: pair[0], to: pair[1], radius: first + (last - first) * along });
        }
    }
    Written { segments, softness: dice.between(0.8, 1.6) }
}

/// The stroke with every point moved a little; a doubled point stays a corner.
fn wandered(stroke: &[Point], dice: &mut Dice) -> Vec<Point> {
    let mut moved: Vec<Point> = Vec::with_capacity(stroke.len());
    for (i, &(x, y)) in stroke.iter().enumerate() {
        let corner = i > 0 && stroke[i - 1] == (x, y);
        moved.push(if corner { moved[i - 1] } else { (x + WANDER * dice.bell(), y + WANDER * dice.bell()) });
    }
    moved
}

/// The smooth curve through `points` (Catmull & Rom 1974) as a line of short straight pieces.
fn curve(points: &[Point]) -> Vec<Point> {
    let mut line = Vec::with_capacity(points.len() * PIECES);
    for i in 0..points.len() - 1 {
        let around = [i.saturating_sub(1), i, i + 1, (i + 2).min(points.len() - 1)].map(|at| points[at]);
        let [x, y] = [around.map(|point| point.0), around.map(|point| point.1)];
        line.extend((0..PIECES).map(|piece| {
            let t = piece as f32 / PIECES as f32;
            (between(x, t), between(y, t))
        }));
    }
    line.extend(points.last());
    line
}

/// One coordinate of the Catmull-Rom curve from `b` to `c`, at `t` from 0 to 1.
fn between([a, b, c, d]: [f32; 4], t: f32) -> f32 {
    let (linear, square, cube) = (c - a, 2.0 * a - 5.0 * b + 4.0 * c - d, 3.0 * (b - c) + d - a);
    b + 0.5 * t * (linear + t * (square + t * cube))
}

/// What is done to a digit as a whole: bent, slanted, scaled to pixels, turned.
struct Form {
    bend: [f32; 4],
    slant: f32,
    scale: Point,
    cos: f32,
    sin: f32,
}

impl Form {
    fn new(dice: &mut Dice) -> Self {
        let bend = std::array::from_fn(|_| 0.08 * dice.bell());
        let height = dice.between(7.0, 10.2);
        // The tangent of half the angle gives sine and cosine without a library function that differs by machine.
        let half = 0.07 * dice.bell();
        let norm = 1.0 + half * half;
        Form {
            bend,
            slant: 0.12 + 0.17 * dice.bell(),
            scale: (height * dice.between(0.75, 1.25), height),
            cos: (1.0 - half * half) / norm,
            sin: 2.0 * half / norm,
        }
    }

    fn apply(&self, (x, y): Point) -> Point {
        let [a, b, c, d] = self.bend;
        let (x, y) = (x + a * y * y + b * x * y, y + c * x * x + d * x * y);
        let (x, y) = ((x - self.slant * y) * self.scale.0, y * self.scale.1);
        (self.cos * x - self.sin * y, self.sin * x + self.cos * y)
    }
}

/// Moves the lines so that the middle of what they span is nearly the middle of the paper.
fn centre(lines: &mut [Vec<Point>], dice: &mut Dice) {
    let span = |coordinate: fn(&Point) -> f32| {
        let values = || lines.iter().flatten().map(coordinate);
        (values().fold(f32::INFINITY, f32::min), values().fold(f32::NEG_INFINITY, f32::max))
    };
    let shift = |(low, high): (f32, f32), dice: &mut Dice| {
        // Rows and columns are counted at their middles. The digit may wander as far as there is room, but not far.
        let room = ((SIDE as f32 - (high - low)) / 2.0 - 2.0).clamp(0.0, 2.5);
        (SIDE - 1) as f32 / 2.0 - (low + high) / 2.0 + dice.between(-room, room)
    };
    let (dx, dy) = (shift(span(|point| point.0), dice), shift(span(|point| point.1), dice));
    for point in lines.iter_mut().flatten() {
        *point = (point.0 + dx, point.1 + dy);
    }
}
