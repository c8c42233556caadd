//! The pen: straight pieces into pixels, with a soft edge.

use super::hand::Segment;
use super::{SIDE, SIZE};

/// How much ink, from 0 to 1, each pixel gets. A pixel's ink depends on its distance from the nearest stroke: 1 inside,
/// falling smoothly to 0 over `softness` pixels about the pen's edge.
pub(super) fn ink(segments: &[Segment], softness: f32) -> [f32; SIZE] {
    // First the distance of each pixel's middle from the edge of the nearest stroke, negative inside.
    let mut distance = [f32::INFINITY; SIZE];
    for segment in segments {
        nearer(&mut distance, segment, segment.radius + softness);
    }
    distance.map(|distance| {
        let depth = (0.5 - distance / softness).clamp(0.0, 1.0);
        depth * depth * (3.0 - 2.0 * depth)
    })
}

/// Lowers the distances of the pixels within `reach` of the segment.
fn nearer(distance: &mut [f32; SIZE], segment: &Segment, reach: f32) {
    let ((ax, ay), (bx, by)) = (segment.from, segment.to);
    let (ux, uy) = (bx - ax, by - ay);
    let square = ux * ux + uy * uy;
    for row in pixels(ay.min(by) - reach, ay.max(by) + reach) {
        for column in pixels(ax.min(bx) - reach, ax.max(bx) + reach) {
            let (px, py) = (column as f32 - ax, row as f32 - ay);
            // The nearest place on the segment, as a part of its way.
            let along = if square > 0.0 { ((px * ux + py * uy) / square).clamp(0.0, 1.0) } else { 0.0 };
            let (dx, dy) = (px - along * ux, py - along * uy);
            let pixel = &mut distance[row * SIDE + column];
            *pixel = pixel.min((dx * dx + dy * dy).sqrt() - segment.radius);
        }
    }
}

/// The rows or columns between two coordinates that are on the paper.
fn pixels(low: f32, high: f32) -> std::ops::RangeInclusive<usize> {
    // A cast of a negative number to `usize` gives zero.
    low.ceil() as usize..=(high.floor() as usize).min(SIDE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stroke_is_solid_inside_and_soft_at_its_edge() {
        let stroke = [Segment { from: (5.0, 10.0), to: (20.0, 10.0), radius: 2.0 }];
        let ink = ink(&stroke, 1.0);
        let column: Vec<f32> = (6..=14).map(|row| ink[row * SIDE + 12]).collect();
        assert_eq!(column, [0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0]);
        // Its ends are round.
        assert_eq!((ink[10 * SIDE + 3], ink[10 * SIDE + 2], ink[12 * SIDE + 3]), (0.5, 0.0, 0.0));
    }

    #[test]
    fn what_is_off_the_paper_is_cut() {
        let stroke = [Segment { from: (-30.0, 0.0), to: (60.0, 0.0), radius: 0.7 }];
        let ink = ink(&stroke, 1.0);
        assert!(ink[..SIDE].iter().all(|&ink| ink == 1.0) && ink[2 * SIDE..].iter().all(|&ink| ink == 0.0));
        let above = [Segment { from: (5.0, -9.0), to: (9.0, -9.0), radius: 1.0 }];
        assert!(super::ink(&above, 1.0).iter().all(|&ink| ink == 0.0));
        let dot = [Segment { from: (4.0, 4.0), to: (4.0, 4.0), radius: 1.0 }];
        assert_eq!(super::ink(&dot, 1.0).iter().filter(|&&ink| ink > 0.4).count(), 5);
    }
}
